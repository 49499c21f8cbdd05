"""Leaky buckets: how many things of each in a minute. Pure; knows neither requests nor who asks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

MINUTE_S = 60.0
# Whose buckets are remembered; those that were used longest ago are forgotten first.
MAX_REMEMBERED = 4096
# So that the last one of a full minute is not refused for a rounding error.
ROUNDING_S = 1e-6

Owner = TypeVar("Owner")


class Buckets(Generic[Owner]):
    """A bucket for each owner: it holds a minute's things, and as many leak out in a minute."""

    def __init__(self) -> None:
        # When each bucket will be empty; the one that was used last is last.
        self._empty_s: OrderedDict[Owner, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._empty_s)

    def put(self, owner: Owner, max_per_minute: int, now: float) -> float:
        """Put one thing into the bucket of *owner*.

        Args:
            max_per_minute: At least 1.
            now: Monotonic seconds.

        Returns:
            0, or in how many seconds there will be room for it; it is not in then.
        """
        empty_s = max(now, self._empty_s.get(owner, now)) + MINUTE_S / max_per_minute
        wait_s = empty_s - now - MINUTE_S
        if wait_s > ROUNDING_S:
            return wait_s
        self._empty_s[owner] = empty_s
        self._empty_s.move_to_end(owner)
        while len(self._empty_s) > MAX_REMEMBERED or next(iter(self._empty_s.values())) <= now:
            self._empty_s.popitem(last=False)
        return 0.0
