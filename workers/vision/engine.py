"""The vision engine: looks at pictures and reads prompts a part at a time beside the running rows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import mlx.core as mx

from transports.envelope import Message
from transports.errors import MlxdError
from transports.frames import Buffer
from transports.messages import Prefill
from transports.settings import VisionSettings
from workers.engine import Failure, Output
from workers.generation.batch import RowGenerator
from workers.generation.loaded import LoadedModel
from workers.generation.scoring import ScoringEngine
from workers.vision.batch import VisionGenerator, VisionSampler
from workers.vision.model import Part, VisionModel, features_of
from workers.vision.pictures import Seen, SeenPictures
from workers.vision.processor import PictureProcessor, UnsuitablePicture
from workers.vision.requests import VisionReader, unsuitable
from workers.vision.rows import Reading, VisionRow

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any


@dataclass(slots=True)
class _Part:
    """Of a row: a picture to look at, or a chunk of its prompt to read."""

    # None: it left.
    row: VisionRow | None
    # May be called in any thread, and gives what `then` takes, which is called in the engine's.
    work: Callable[[], Any]
    then: Callable[[Any], list[Output]]
    num_tokens: int = 0


class VisionEngine(ScoringEngine[VisionRow]):
    """See `workers.engine.Engine`.

    A row first has its pictures looked at, then is read, and then joins the batch. One part of that is done
    at a time, a picture or a chunk of a prompt, of one row; rows take turns. It is done between two steps, or
    beside them.
    """

    def __init__(
        self, loaded: LoadedModel, reader: VisionReader, processor: PictureProcessor, settings: VisionSettings
    ) -> None:
        self._model: VisionModel = loaded.model
        self._reader = reader
        self._processor = processor
        self._seen = SeenPictures(settings.image_cache_bytes)
        # Rows that are looked at or read; the first one's turn is next.
        self._turns: deque[VisionRow] = deque()
        # What is done beside the steps.
        self._part: _Part | None = None
        super().__init__(loaded, settings)

    def add(self, request_id: str, task: str, body: Message, buffers: Sequence[Buffer]) -> None:
        """See `Engine.add`."""
        row = self._reader.row(request_id, body, buffers, time.monotonic())
        self._recall(row)
        if row.unseen():
            self._turns.append(row)
        else:
            self._complete(row)

    def cancel(self, request_id: str) -> list[Output]:
        """See `Engine.cancel`."""
        for row in self._turns:
            if row.id == request_id:
                self._turns.remove(row)
                if row is self._on_trial:
                    self._on_trial = None
                return [*row.finish("cancelled", time.monotonic())]
        if (beside := self._row_beside()) and beside.id == request_id:
            self._drop(beside)
            return [*beside.finish("cancelled", time.monotonic())]
        return super().cancel(request_id)

    def _has_rows(self) -> bool:
        return bool(self._turns) or self._part is not None or super()._has_rows()

    def close(self) -> None:
        """See `Engine.close`."""
        self._seen.clear()
        super().close()

    def _admit(self, now: float) -> list[Output]:
        outputs = super()._admit(now)
        if self._part is not None:
            if self._beside is not None and self._beside.is_busy and self._generator.num_decoding:
                return outputs
            outputs += self._finish(self._part)
        row = self._next_turn()
        if row is None:
            return outputs
        self._progress += 1
        try:
            part = self._look(row) if row.reading is None else self._read(row, row.reading)
        except Exception as e:  # noqa: BLE001 - whatever a model raises must not end the other requests
            return [*outputs, self._spoilt(row, e)]
        if self._beside is None or not self._generator.num_decoding:
            return outputs + self._finish(part)
        self._beside.start(part.work, part.num_tokens)
        self._part = part
        return outputs

    def _finish(self, part: _Part) -> list[Output]:
        """Do the part, or wait for it if it is done beside; and what follows from it."""
        is_beside, self._part = part is self._part, None
        try:
            result = self._beside.take() if is_beside and self._beside else part.work()
            return [] if part.row is None else part.then(result)
        except Exception as e:  # noqa: BLE001 - whatever a model raises must not end the other requests
            return [] if part.row is None else [self._spoilt(part.row, e)]

    def _spoilt(self, row: VisionRow, error: Exception) -> Failure:
        return Failure(id=row.id, error=error) if isinstance(error, MlxdError) else self._failure(row, error)

    def _row_beside(self) -> VisionRow | None:
        """Whose part is done beside the steps."""
        return self._part.row if self._part is not None else None

    def _drop(self, row: VisionRow) -> None:
        """The row whose part is done beside leaves."""
        if self._part is not None:
            self._part.row = None
        if row is self._on_trial:
            self._on_trial = None

    def _next_turn(self) -> VisionRow | None:
        """Nobody new while a row is on trial: a failure must point at one row."""
        for row in self._turns:
            if self._on_trial is None or row is self._on_trial:
                self._turns.remove(row)
                return row
        return None

    def _rows_inside(self) -> list[VisionRow]:
        turns = [*self._turns, *filter(None, [self._row_beside()])]
        return [*super()._rows_inside(), *(row for row in turns if row.reading is not None)]

    def _withdraw(self, rows: Sequence[VisionRow]) -> None:
        super()._withdraw(rows)
        for row in rows:
            if row.reading is not None:
                row.reading = None
                if row is self._row_beside():
                    self._drop(row)
                else:
                    self._turns.remove(row)
                if row is self._on_trial:
                    self._on_trial = None

    # --- pictures -------------------------------------------------------------------------

    def _look(self, row: VisionRow) -> _Part:
        """Let the model see one picture."""
        # Another request may have shown it the same one meanwhile.
        self._recall(row)
        unseen = row.unseen()
        if not unseen:
            return _Part(row, lambda: None, lambda _: self._looked(row))
        picture = unseen[0]

        def then(seen: Seen) -> list[Output]:
            self._seen.keep(row.pictures[picture].digest, seen)
            row.seen[picture] = seen
            self._reader.check_length(row)
            return self._looked(row)

        return _Part(row, self._seeing(row, picture), then)

    def _looked(self, row: VisionRow) -> list[Output]:
        if row.unseen():
            self._turns.append(row)
        else:
            self._complete(row)
        return []

    def _recall(self, row: VisionRow) -> None:
        """Take what the model made of the row's pictures before."""
        for picture in row.unseen():
            seen = self._seen.find(row.pictures[picture].digest)
            if seen is not None:
                row.seen[picture] = seen

    def _seeing(self, row: VisionRow, picture: int) -> Callable[[], Seen]:
        shown = row.pictures[picture]
        try:
            tokens, inputs = self._processor.prepare(shown)
        except UnsuitablePicture as e:
            raise unsuitable(row.request, picture, shown) from e
        mx.eval(inputs)
        return partial(self._model.see, tokens, inputs)

    def _complete(self, row: VisionRow) -> None:
        """All pictures are seen: the prompt is known."""
        self._reader.complete(row)
        if self._model.has_mrope:
            shown = [row.seen[picture] for _, picture in row.places]
            row.positions, row.lag = self._model.positions(row.prompt, shown)
            mx.eval(row.positions)
        self._enqueue(row)

    # --- prompts --------------------------------------------------------------------------

    def _insert(self, row: VisionRow) -> list[Output]:
        cache, num_cached = self._cached(row)
        row.reading = Reading(self._model.make_cache() if cache is None else cache, num_cached)
        self._turns.append(row)
        return []

    def _read(self, row: VisionRow, reading: Reading) -> _Part:
        """Read a chunk of the row's tokens; the last one is for the batch."""
        tokens = row.tokens
        start, last = reading.num_read, len(tokens) - 1
        end = min(start + self._chunk_tokens_after(last - row.num_cached), last)

        def work() -> float:
            started = time.monotonic()
            if end > start:
                inputs = self._model_inputs(row, start, end)
                self._model.read(tokens[start:end], reading.cache, _parts(row, start, end), **inputs)
            return time.monotonic() - started

        def then(seconds: float) -> list[Output]:
            if end > start:
                reading.num_read = end
                self._pace.read(seconds, end - start)
            if self._on_trial is not None and row is not self._on_trial:
                # It joins later: a failure must point at one row.
                self._turns.append(row)
                return []
            return self._has_read(row, reading, end)

        return _Part(row, work, then, end - start)

    def _chunk_tokens_after(self, num_unread: int) -> int:
        """Of a prompt of which *num_unread* tokens were not cached."""
        chunk_tokens = self._settings.prefill_step_tokens
        if not self._generator.num_decoding:
            return chunk_tokens
        if self._beside is not None:
            return min(chunk_tokens, self._beside.piece_tokens)
        return self._pace.chunk_tokens if num_unread > chunk_tokens else chunk_tokens

    def _has_read(self, row: VisionRow, reading: Reading, end: int) -> list[Output]:
        tokens = row.tokens
        last = len(tokens) - 1
        outputs: list[Output] = []
        if end < last:
            self._turns.append(row)
        else:
            row.reading = None
            self._join(row, tokens[last:], reading.cache, tokens[:last])
            outputs = self._share(row, reading.cache, tokens[:last])
        # A row that is let in again said this once before.
        if row.answer or len(tokens) - row.num_cached <= self._settings.prefill_step_tokens:
            return outputs
        return [Prefill(id=row.id, num_done=end + (end == last), num_total=len(tokens)), *outputs]

    def _sampler(self, row: VisionRow) -> VisionSampler:
        return VisionSampler(row, self._loaded.reader.vocab_size)

    def _model_inputs(self, row: VisionRow, start: int, end: int) -> dict[str, Array]:
        if row.positions is None:
            return {}
        return {"position_ids": self._model.positions_at(row.positions, row.lag, start, end)}

    def _new_generator(self) -> RowGenerator:
        return VisionGenerator(
            self._loaded.model,
            num_slots=self._settings.num_slots,
            prefill_batch_size=self._settings.num_slots,
            stream=self._stream,
        )


def _parts(row: VisionRow, start: int, end: int) -> list[Part]:
    """Of the tokens [start, end) text and features of pictures in turn; nothing if it is all text."""
    parts = list(row.parts(start, end))
    if all(picture is None for picture, _, _ in parts):
        return []
    tokens = row.tokens
    return [
        tokens[begin:close] if picture is None else features_of(row.seen[picture], begin, close)
        for picture, begin, close in parts
    ]
