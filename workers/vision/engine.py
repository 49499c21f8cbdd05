"""The vision engine: looks at pictures and reads prompts a part at a time beside the running rows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from transports.envelope import Message
from transports.errors import MlxdError
from transports.frames import Buffer
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


class VisionEngine(ScoringEngine[VisionRow]):
    """See `workers.engine.Engine`.

    A row first has its pictures looked at, then is read, and then joins the batch. One step does one
    part of that, a picture or a chunk of a prompt, of one row; rows take turns.
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
        return super().cancel(request_id)

    def _has_rows(self) -> bool:
        return bool(self._turns) or super()._has_rows()

    def close(self) -> None:
        """See `Engine.close`."""
        self._seen.clear()
        super().close()

    def _admit(self, now: float) -> list[Output]:
        outputs = super()._admit(now)
        row = self._next_turn()
        if row is None:
            return outputs
        self._progress += 1
        try:
            if row.reading is None:
                self._look(row)
            else:
                outputs += self._read(row, row.reading)
        except MlxdError as e:
            outputs.append(Failure(id=row.id, error=e))
        except Exception as e:  # noqa: BLE001 - whatever a model raises must not end the other requests
            outputs.append(self._failure(row, e))
        return outputs

    def _next_turn(self) -> VisionRow | None:
        """Nobody new while a row is on trial: a failure must point at one row."""
        for row in self._turns:
            if self._on_trial is None or row is self._on_trial:
                self._turns.remove(row)
                return row
        return None

    def _rows_inside(self) -> list[VisionRow]:
        return [*super()._rows_inside(), *(row for row in self._turns if row.reading is not None)]

    def _withdraw(self, rows: Sequence[VisionRow]) -> None:
        super()._withdraw(rows)
        for row in rows:
            if row.reading is not None:
                row.reading = None
                self._turns.remove(row)
                if row is self._on_trial:
                    self._on_trial = None

    # --- pictures -------------------------------------------------------------------------

    def _look(self, row: VisionRow) -> None:
        """Let the model see one picture."""
        # Another request may have shown it the same one meanwhile.
        self._recall(row)
        if unseen := row.unseen():
            row.seen[unseen[0]] = self._see(row, unseen[0])
            self._reader.check_length(row)
        if row.unseen():
            self._turns.append(row)
        else:
            self._complete(row)

    def _recall(self, row: VisionRow) -> None:
        """Take what the model made of the row's pictures before."""
        for picture in row.unseen():
            seen = self._seen.find(row.pictures[picture].digest)
            if seen is not None:
                row.seen[picture] = seen

    def _see(self, row: VisionRow, picture: int) -> Seen:
        shown = row.pictures[picture]
        try:
            tokens, inputs = self._processor.prepare(shown)
        except UnsuitablePicture as e:
            raise unsuitable(row.request, picture, shown) from e
        seen = self._model.see(tokens, inputs)
        self._seen.keep(shown.digest, seen)
        return seen

    def _complete(self, row: VisionRow) -> None:
        """All pictures are seen: the prompt is known."""
        self._reader.complete(row)
        if self._model.has_mrope:
            shown = [row.seen[picture] for _, picture in row.places]
            row.positions, row.lag = self._model.positions(row.prompt, shown)
        self._enqueue(row)

    # --- prompts --------------------------------------------------------------------------

    def _insert(self, row: VisionRow) -> list[Output]:
        cache, num_cached = self._cached(row)
        row.reading = Reading(self._model.make_cache() if cache is None else cache, num_cached)
        self._turns.append(row)
        return []

    def _read(self, row: VisionRow, reading: Reading) -> list[Output]:
        """Read a chunk of the row's tokens; the last one is for the batch."""
        tokens = row.tokens
        start, last = reading.num_read, len(tokens) - 1
        chunk_tokens = self._settings.prefill_step_tokens
        if self._generator.num_decoding and last - row.num_cached > chunk_tokens:
            chunk_tokens = self._pace.chunk_tokens
        end = min(start + chunk_tokens, last)
        if end > start:
            started = time.monotonic()
            inputs = self._model_inputs(row, start, end)
            self._model.read(tokens[start:end], reading.cache, _parts(row, start, end), **inputs)
            reading.num_read = end
            self._pace.read(time.monotonic() - started, end - start)
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
        return [row.prefill(end + (end == last)), *outputs]

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
