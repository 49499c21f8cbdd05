"""Moments at which something is due, by key; the next one is found without a look at all of them."""

from __future__ import annotations

import heapq

# Entries of the heap that are out of date, before they are thrown out.
MAX_STALE = 64


class Deadlines:
    """At most one deadline a key; all times are monotonic seconds."""

    def __init__(self) -> None:
        self._due_s: dict[str, float] = {}
        # (when, key); out of date when the key's deadline is another one.
        self._heap: list[tuple[float, str]] = []

    def __contains__(self, key: str) -> bool:
        return key in self._due_s

    def set(self, key: str, due_s: float) -> None:
        """Give a key its deadline, in place of the one that it may have."""
        self._due_s[key] = due_s
        heapq.heappush(self._heap, (due_s, key))
        if len(self._heap) > 2 * len(self._due_s) + MAX_STALE:
            self._heap = [(due_s, key) for key, due_s in self._due_s.items()]
            heapq.heapify(self._heap)

    def discard(self, key: str) -> None:
        """A key has no deadline any more."""
        self._due_s.pop(key, None)

    def next_s(self) -> float | None:
        """The earliest deadline."""
        while self._heap:
            due_s, key = self._heap[0]
            if self._due_s.get(key) == due_s:
                return due_s
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: float) -> list[str]:
        """Keys whose deadline has come, the earliest first; they have none any more."""
        due: list[str] = []
        while (next_s := self.next_s()) is not None and next_s <= now:
            _, key = heapq.heappop(self._heap)
            self.discard(key)
            due.append(key)
        return due
