"""The text engine: prompts are tokens, which mlx-lm's generator reads beside the running rows."""

from __future__ import annotations

import time
from collections.abc import Sequence

from transports.envelope import Message
from transports.frames import Buffer
from transports.settings import TextSettings
from workers.engine import Output
from workers.generation.batch import RowGenerator
from workers.generation.loaded import LoadedModel
from workers.generation.prompt_reader import PromptReader, has_processor_to_spare
from workers.generation.rows import Row
from workers.generation.scoring import ScoringEngine


class TextEngine(ScoringEngine[Row]):
    """See `workers.engine.Engine`."""

    def __init__(self, loaded: LoadedModel, settings: TextSettings) -> None:
        self._prefill_batch_size = settings.prefill_batch_size
        is_beside = settings.prefill_beside and has_processor_to_spare(loaded.info.device)
        self._prompt_reader = PromptReader() if is_beside else None
        super().__init__(loaded, settings)

    def add(self, request_id: str, task: str, body: Message, buffers: Sequence[Buffer]) -> None:
        """See `Engine.add`."""
        self._enqueue(self._loaded.reader.row(request_id, body, time.monotonic()))

    def _insert(self, row: Row) -> list[Output]:
        try:
            tokens = row.tokens
            cache, num_cached = self._cached(row)
            self._join(row, tokens[num_cached:], cache, tokens[:num_cached])
        except Exception as e:  # noqa: BLE001 - see `step`
            return [self._failure(row, e)]
        return []

    def _new_generator(self) -> RowGenerator:
        return RowGenerator(
            self._loaded.model,
            num_slots=self._settings.num_slots,
            prefill_batch_size=self._prefill_batch_size,
            stream=self._stream,
            reader=self._prompt_reader,
        )

    def close(self) -> None:
        """See `Engine.close`."""
        super().close()
        if self._prompt_reader is not None:
            self._prompt_reader.close()
