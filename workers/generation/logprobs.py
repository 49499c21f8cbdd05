"""Log-probabilities of chosen and most likely tokens, for the rows that ask, read once a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from workers.generation.sampling import take_rows

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any


@dataclass(frozen=True, slots=True)
class Chosen:
    """One token's log-probability and the most likely tokens at its place, best first."""

    logprob: float
    top: list[tuple[int, float]]


class StepLogprobs:
    """What a step computes beside its tokens: natural logs, before temperature and truncation."""

    def __init__(self, logits: Array, tokens: Array, num_top: Sequence[int | None]) -> None:
        """
        Args:
            logits: Shape (num_rows, vocab_size), after penalties and bias.
            tokens: The chosen tokens, shape (num_rows,).
            num_top: For each row how many alternatives; None for a row that wants nothing.
        """
        self._num_top = list(num_top)
        self._rows = [row for row, wanted in enumerate(num_top) if wanted is not None]
        logits = take_rows(logits, self._rows).astype(mx.float32)
        logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        most = max((wanted or 0 for wanted in num_top), default=0)
        self._top_ids, self._top = None, None
        if most:
            ids = mx.argpartition(-logprobs, kth=most - 1, axis=-1)[:, :most]
            values = mx.take_along_axis(logprobs, ids, axis=-1)
            order = mx.argsort(-values, axis=-1)
            self._top_ids = mx.take_along_axis(ids, order, axis=-1)
            self._top = mx.take_along_axis(values, order, axis=-1)
        self._chosen = mx.take_along_axis(logprobs, take_rows(tokens, self._rows)[:, None], axis=-1)
        self._read: dict[int, Chosen] | None = None

    @property
    def arrays(self) -> list[Array]:
        """What must be evaluated with the step."""
        return [one for one in (self._chosen, self._top_ids, self._top) if one is not None]

    def of(self, row: int) -> Chosen | None:
        """A row's numbers, or None if it wants none; the first call reads all rows at once."""
        if self._read is None:
            self._read = self._fetch()
        return self._read.get(row)

    def _fetch(self) -> dict[int, Chosen]:
        chosen = self._chosen[:, 0].tolist()
        ids = self._top_ids.tolist() if self._top_ids is not None else [[]] * len(chosen)
        values = self._top.tolist() if self._top is not None else [[]] * len(chosen)
        return {
            row: Chosen(chosen[at], list(zip(ids[at], values[at], strict=True))[: self._num_top[row]])
            for at, row in enumerate(self._rows)
        }
