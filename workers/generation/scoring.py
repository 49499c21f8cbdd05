"""Prompts whose own tokens get logprobs: read a chunk a step, before their rows join the batch."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from transports.messages import TokenLogprob
from workers.engine import Output
from workers.generation.engine import AnyRow
from workers.generation.loaded import BatchSettings, LoadedModel
from workers.generation.logprobs import StepLogprobs
from workers.generation.shared_prefill import SharedPrefillEngine

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
Array = Any
KvCache = Any

# The logits of a chunk, in float32: 128 MB for a vocabulary of 256,000.
MAX_CHUNK_TOKENS = 128


@dataclass(slots=True)
class _Reading(Generic[AnyRow]):
    """How far a prompt is read."""

    row: AnyRow
    cache: list[KvCache]
    num_read: int = 0


class ScoringEngine(SharedPrefillEngine[AnyRow]):
    """A `SharedPrefillEngine` that can say what its model thought of a prompt.

    What it reads for that goes into the prompt cache, where the row finds it when it joins.
    """

    def __init__(self, loaded: LoadedModel, settings: BatchSettings) -> None:
        # The first one's turn is next.
        self._readings: deque[_Reading[AnyRow]] = deque()
        super().__init__(loaded, settings)

    def cancel(self, request_id: str) -> list[Output]:
        """See `Engine.cancel`."""
        for reading in self._readings:
            if reading.row.id == request_id:
                self._readings.remove(reading)
                return [*reading.row.finish("cancelled", time.monotonic())]
        return super().cancel(request_id)

    def _has_rows(self) -> bool:
        return bool(self._readings) or super()._has_rows()

    def _let_in(self, row: AnyRow) -> list[Output]:
        if not row.must_tell_prompt:
            return super()._let_in(row)
        row.is_reading = True
        self._readings.append(_Reading(row, make_prompt_cache(self._loaded.model)))
        return []

    def _admit(self, now: float) -> list[Output]:
        outputs = super()._admit(now)
        # Nobody joins while a row is on trial: a failure must point at one row.
        if not self._readings or self._on_trial is not None:
            return outputs
        reading = self._readings.popleft()
        self._progress += 1
        try:
            outputs += self._read_chunk(reading, now)
        except Exception as e:  # noqa: BLE001 - whatever a model raises must not end the other requests
            outputs.append(self._failure(reading.row, e))
        return outputs

    def _rows_inside(self) -> list[AnyRow]:
        return [*super()._rows_inside(), *(reading.row for reading in self._readings)]

    def _withdraw(self, rows: Sequence[AnyRow]) -> None:
        super()._withdraw(rows)
        ids = {row.id for row in rows}
        self._readings = deque(reading for reading in self._readings if reading.row.id not in ids)

    # --- a prompt -------------------------------------------------------------------------

    def _read_chunk(self, reading: _Reading[AnyRow], now: float) -> list[Output]:
        row, start = reading.row, reading.num_read
        last = len(row.prompt) - 1
        end = min(start + self._chunk_tokens(), last)
        scores: list[TokenLogprob] = []
        if start == 0 and row.num_top_logprobs is not None:
            # Nothing predicts the first token.
            scores.append(self._named(row.prompt[0], math.nan))
        if end > start:
            logits = self._loaded.model(
                mx.array([row.prompt[start:end]]), cache=reading.cache, **self._model_inputs(row, start, end)
            )[0]
            scores += self._scores(row, logits, row.prompt[start + 1 : end + 1])
            mx.eval([cache.state for cache in reading.cache])
            mx.clear_cache()
        outputs: list[Output] = [*row.tell_prompt(end + 1, scores, now)]
        reading.num_read = end
        if end < last:
            self._readings.append(reading)
            return outputs
        self._store(row, row.prompt[:last], reading.cache)
        if row.max_tokens == 0:
            return [*outputs, *row.finish("length", now)]
        outputs += super()._let_in(row)
        # It was our own.
        row.num_cached = 0
        return outputs

    def _chunk_tokens(self) -> int:
        most = min(MAX_CHUNK_TOKENS, self._settings.prefill_step_tokens)
        return min(most, self._pace.chunk_tokens) if self._generator.num_decoding else most

    def _model_inputs(self, row: AnyRow, start: int, end: int) -> dict[str, Array]:
        """What the model is given beside the tokens [start, end) of the row's prompt and their cache."""
        return {}

    def _scores(self, row: AnyRow, logits: Array, tokens: Sequence[int]) -> list[TokenLogprob]:
        """What *logits*, shape (num_tokens, vocab_size), say of the tokens that came."""
        if row.num_top_logprobs is None:
            return []
        step = StepLogprobs(logits, mx.array(tokens), [row.num_top_logprobs] * len(tokens))
        mx.eval(step.arrays)
        scores = []
        for at, token in enumerate(tokens):
            if chosen := step.of(at):
                top = tuple(self._named(*other) for other in chosen.top)
                scores.append(self._named(token, chosen.logprob, top))
        return scores
