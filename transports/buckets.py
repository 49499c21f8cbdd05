"""Leaky buckets: how many things of each in some time. Pure; knows neither requests nor who asks."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Generic, TypeVar

MINUTE_S = 60.0
# Whose buckets are remembered; those that were used longest ago are forgotten first.
MAX_REMEMBERED = 4096
# So that the last one of a full minute is not refused for a rounding error.
ROUNDING_S = 1e-6

Owner = TypeVar("Owner")


class Buckets(Generic[Owner]):
    """A bucket for each owner: a full one is empty after `holds_s`."""

    def __init__(self, holds_s: float = MINUTE_S) -> None:
        self._holds_s = holds_s
        # When each bucket will be empty; the one that was used last is last.
        self._empty_s: OrderedDict[Owner, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._empty_s)

    def is_empty(self, owner: Owner, now: float) -> bool:
        """Whether nothing is in the bucket of *owner*."""
        return self._empty_s.get(owner, now) <= now

    def put(self, owner: Owner, max_held: float, now: float, amount: float = 1) -> float:
        """Put something into the bucket of *owner*, if it has room for one: more makes the next wait longer.

        Args:
            max_held: What the bucket holds, and what leaks out of it in `holds_s`; above 0.
            now: Monotonic seconds.
            amount: Of what is put in.

        Returns:
            0, or in how many seconds there will be room for one; nothing is in then.
        """
        level_s = max(0.0, self._empty_s.get(owner, now) - now)
        one_s = self._holds_s / max_held
        if (wait_s := level_s + one_s - self._holds_s) > ROUNDING_S:
            return wait_s
        if owner not in self._empty_s:
            self._forget(now)
        self._empty_s[owner] = now + level_s + amount * one_s
        self._empty_s.move_to_end(owner)
        return 0.0

    def _forget(self, now: float) -> None:
        """Make place for another owner, and forget those whose buckets are empty."""
        while len(self._empty_s) >= MAX_REMEMBERED or next(iter(self._empty_s.values()), math.inf) <= now:
            self._empty_s.popitem(last=False)
