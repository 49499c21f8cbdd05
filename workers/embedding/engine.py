"""Many requests for vectors or scores, whose rows share steps; none of which can spoil another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

from transports.envelope import Message
from transports.errors import MlxdError, RequestError, WorkerError
from transports.frames import Buffer
from transports.logs import get_logger
from transports.messages import Done, Usage
from transports.vectors import EmbeddingsRequest, RerankRequest
from workers.embedding.batching import Batches, RowId
from workers.embedding.inputs import InputReader, Row
from workers.engine import EngineInfo, Failure, Numbers, Output
from workers.generation.failures import as_error

# Any: mlx and numpy publish no types that mypy sees outside a worker's environment.
Array = Any

log = get_logger()

# Characters or tokens that a step turns into rows beside what it computes: some 10 ms.
READ_CHARS = 32 * 1024


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """What `loading.load` hands over."""

    # Tokens, mask and token types (or None), each of shape (num_rows, num_tokens), to float32 of shape
    # (num_rows, row_size).
    compute: Callable[[Array, Array, Array | None], Array]
    row_size: int
    reader: InputReader
    info: EngineInfo
    is_cross_encoder: bool
    # Whether vectors of so many numbers may be asked for, and whether they have length 1.
    allows: Callable[[int], bool] = lambda _: False
    normalizes: bool = False
    # What may be asked for, in words.
    dimensions: str = ""


@dataclass(slots=True)
class _Request:
    """A request inside the engine."""

    id: str
    # Its rows, each made when it is asked for.
    unread: Iterator[tuple[Row, int]]
    size: int
    rows: list[Row] = field(default_factory=list)
    # float32 of shape (num_rows, row_size), once all rows are known.
    values: Array = None
    num_left: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(prompt_tokens=sum(len(row.tokens) for row in self.rows), completion_tokens=0)


class EmbeddingEngine:
    """`workers.engine.Engine` for encoders and cross-encoders."""

    def __init__(self, loaded: LoadedEncoder, step_tokens: int) -> None:
        self.info = loaded.info
        self.tasks: Mapping[str, type[Message]] = (
            {"rerank": RerankRequest} if loaded.is_cross_encoder else {"embeddings": EmbeddingsRequest}
        )
        self._loaded = loaded
        self._batches = Batches(step_tokens)
        self._requests: dict[str, _Request] = {}
        # Those whose rows are not all known.
        self._reading: deque[_Request] = deque()
        self._progress = 0

    def add(self, request_id: str, task: str, body: Message, buffers: Sequence[Buffer]) -> None:
        """See `Engine.add`."""
        if isinstance(body, RerankRequest):
            request = _Request(request_id, self._pairs(body), self._loaded.row_size)
        elif isinstance(body, EmbeddingsRequest):
            size = body.dimensions or self._loaded.row_size
            if size != self._loaded.row_size and not (
                size < self._loaded.row_size and self._loaded.allows(size)
            ):
                raise RequestError(
                    f"dimensions: expected {self._loaded.dimensions}, got {size}", param="dimensions"
                )
            request = _Request(request_id, self._texts(body), size)
        else:
            raise WorkerError(f"{task}: an embedding worker cannot do this")
        self._requests[request_id] = request
        self._reading.append(request)

    def cancel(self, request_id: str) -> list[Output]:
        """See `Engine.cancel`."""
        request = self._drop(request_id)
        return (
            [] if request is None else [Done(id=request_id, finish_reason="cancelled", usage=request.usage)]
        )

    def step(self) -> list[Output]:
        """Make rows of a portion of a new request, and compute a batch of those that wait."""
        self._progress += 1
        outputs = self._read()
        if batch := self._batches.next():
            outputs += self._compute(batch)
        return outputs

    def has_work(self) -> bool:
        """See `Engine.has_work`."""
        return bool(self._requests)

    def progress(self) -> int:
        """See `Engine.progress`."""
        return self._progress

    def close(self) -> None:
        """See `Engine.close`."""
        mx.clear_cache()

    # --- reading --------------------------------------------------------------------------

    def _texts(self, body: EmbeddingsRequest) -> Iterator[tuple[Row, int]]:
        for index, item in enumerate(body.input):
            yield self._loaded.reader.one(item, f"input[{index}]", truncate=body.truncate), len(item)

    def _pairs(self, body: RerankRequest) -> Iterator[tuple[Row, int]]:
        for index, text in enumerate(body.documents):
            row = self._loaded.reader.pair(body.query, text, f"documents[{index}]", truncate=body.truncate)
            yield row, len(body.query) + len(text)

    def _read(self) -> list[Output]:
        outputs: list[Output] = []
        num_chars = 0
        while self._reading and num_chars < READ_CHARS:
            # A long one goes to the end of the line, and does not keep short ones waiting.
            request = self._reading.popleft()
            try:
                for row, length in request.unread:
                    request.rows.append(row)
                    num_chars += length
                    if num_chars >= READ_CHARS:
                        break
                else:
                    self._let_in(request)
                    continue
            except MlxdError as e:
                outputs += self._fail(request.id, e)
            else:
                self._reading.append(request)
        return outputs

    def _let_in(self, request: _Request) -> None:
        request.num_left = len(request.rows)
        request.values = np.empty((len(request.rows), self._loaded.row_size), np.float32)
        self._batches.add(request.id, [len(row.tokens) for row in request.rows])

    # --- computing ------------------------------------------------------------------------

    def _compute(self, batch: Sequence[RowId]) -> list[Output]:
        try:
            values = np.asarray(self._values(batch))
        except Exception as e:  # noqa: BLE001 - whatever a model raises must not end the other requests
            return self._recover(batch, e)
        outputs: list[Output] = []
        for place, row in enumerate(batch):
            request = self._requests[row.request_id]
            request.values[row.number] = values[place]
            request.num_left -= 1
            if not request.num_left:
                outputs.append(self._finish(request))
        return outputs

    def _values(self, batch: Sequence[RowId]) -> Array:
        rows = [self._requests[row.request_id].rows[row.number] for row in batch]
        longest = max(len(row.tokens) for row in rows)
        tokens = np.zeros((len(rows), longest), np.int32)
        mask = np.zeros((len(rows), longest), np.int32)
        types = np.zeros((len(rows), longest), np.int32)
        for place, row in enumerate(rows):
            tokens[place, : len(row.tokens)] = row.tokens
            mask[place, : len(row.tokens)] = 1
            if row.types is not None:
                types[place, : len(row.types)] = row.types
        values = self._loaded.compute(mx.array(tokens), mx.array(mask), mx.array(types))
        mx.eval(values)
        return values

    def _finish(self, request: _Request) -> Output:
        self._drop(request.id)
        values = request.values
        if request.size < values.shape[1]:
            values = np.ascontiguousarray(values[:, : request.size])
            if self._loaded.normalizes:
                values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        if not np.isfinite(values).all():
            error = WorkerError("the model gave numbers that are infinite or none at all")
            return Failure(id=request.id, error=error)
        return Numbers(
            id=request.id,
            values=memoryview(values).cast("B"),
            num_rows=values.shape[0],
            row_size=values.shape[1],
            usage=request.usage,
        )

    def _recover(self, batch: Sequence[RowId], error: Exception) -> list[Output]:
        """After a failed step: a request that was alone in it fails, several are tried one by one."""
        request_ids = list(dict.fromkeys(row.request_id for row in batch))
        log.warning("step_failed", num_requests=len(request_ids), reason=type(error).__name__)
        mx.clear_cache()
        if len(request_ids) == 1:
            return self._fail(request_ids[0], as_error(error))
        lengths = [(row, len(self._requests[row.request_id].rows[row.number].tokens)) for row in batch]
        self._batches.put_back(lengths)
        self._batches.separate(request_ids)
        return []

    # --- leaving --------------------------------------------------------------------------

    def _fail(self, request_id: str, error: MlxdError) -> list[Output]:
        self._drop(request_id)
        return [Failure(id=request_id, error=error)]

    def _drop(self, request_id: str) -> _Request | None:
        request = self._requests.pop(request_id, None)
        if request is not None and request in self._reading:
            self._reading.remove(request)
        self._batches.remove(request_id)
        return request
