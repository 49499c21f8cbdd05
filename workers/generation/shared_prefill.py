"""Rows with the same prompt, which is read once: the choices of one request, or of several that are alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mlx_lm.models.cache import can_trim_prompt_cache

from workers.engine import Output
from workers.generation.batch import beginning
from workers.generation.engine import MIN_CACHED_TOKENS, AnyRow, BatchEngine
from workers.generation.rows import Row

# Any: mlx and mlx-lm publish no types that mypy sees outside a worker's environment.
KvCache = Any
Response = Any


class SharedPrefillEngine(BatchEngine[AnyRow]):
    """A `BatchEngine` in which a row does not read a prompt that another one reads or has read.

    While the other one reads, it waits; then it takes a copy of the keys and values. Caches that cannot be
    cut back are copied only at the moment when the prompt is read.
    """

    def _next_waiting(self) -> AnyRow | None:
        """See `BatchEngine`; who waits for a twin keeps nobody else waiting."""
        if not self._waiting:
            return None
        being_read = {
            row.prompt_name
            for row in self._rows_inside()
            if row.is_reading and row.num_cached < len(row.prompt) - 1
        }
        return next(
            (row for row in self._waiting if not _may_follow(row) or row.prompt_name not in being_read), None
        )

    def _prefilled(self, response: Response) -> list[Output]:
        outputs = super()._prefilled(response)
        # All but the last token are read, which begins the answer.
        if not response.end_of_segment or response.end_of_prompt:
            return outputs
        row = self._running[response.uid]
        if self._twins(row):
            cache, tokens = self._generator.extract_cache([response.uid])[response.uid]
            outputs += self._share(row, cache, tokens)
        return outputs

    def _twins(self, row: AnyRow) -> list[AnyRow]:
        """Those who wait for *row* to have read its prompt."""
        if self._on_trial is not None or self._is_crowded:
            return []
        return [one for one in self._waiting if _may_follow(one) and one.prompt_name == row.prompt_name]

    def _share(self, row: AnyRow, cache: list[KvCache], tokens: Sequence[int]) -> list[Output]:
        """Let the twins of a row join that has read *tokens*, all of its own but the last."""
        num_shared = len(row.prompt) - 1
        if len(tokens) > num_shared and not can_trim_prompt_cache(cache):
            return []
        outputs: list[Output] = []
        for twin in self._twins(row):
            if (left := self._left([*self._rows_inside(), twin])) < 0:
                break
            self._waiting.remove(twin)
            outputs += twin.start(time.monotonic())
            twin.is_reading, twin.num_cached = True, num_shared
            try:
                read = beginning(cache, len(tokens), num_shared)
                self._join(twin, twin.prompt[num_shared:], read, twin.prompt[:num_shared])
            except Exception as e:  # noqa: BLE001 - see `step`
                outputs.append(self._failure(twin, e))
            self._prompt_cache.shrink(left)
        return outputs

    def _cached(self, row: AnyRow) -> tuple[list[KvCache] | None, int]:
        """See `BatchEngine`; a twin that answers already has read the whole prompt."""
        twins = (
            uid
            for uid, one in self._running.items()
            if not one.is_reading and one.prompt_name == row.prompt_name
        )
        if not _may_share(row) or (uid := next(twins, None)) is None:
            return super()._cached(row)
        cache, tokens = self._generator.extract_cache([uid])[uid]
        if not can_trim_prompt_cache(cache):
            return super()._cached(row)
        num_cached = len(row.prompt) - 1
        if not row.answer:
            row.num_cached = num_cached
        return beginning(cache, len(tokens), num_cached), num_cached


def _may_share(row: Row) -> bool:
    """Whether another's keys and values are enough: who wants the logprobs of the prompt must read it."""
    return len(row.prompt) > MIN_CACHED_TOKENS and not row.must_tell_prompt


def _may_follow(row: Row) -> bool:
    """Whether it is to wait for a twin: one that was taken out of the batch goes on where it was."""
    return _may_share(row) and not row.answer
