"""Which rows a step computes together: of like length, within a budget, each request in its turn. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# A row is padded to the longest of its step. One that is shorter than this part of it waits for a step of its
# own kind: computing it now would cost as much.
MIN_FILL = 0.5


class RowId(NamedTuple):
    """One input of one request."""

    request_id: str
    number: int


class Batches:
    """The rows that wait. A request with few of them never waits for all of one with thousands."""

    def __init__(self, step_tokens: int) -> None:
        """Nothing waits.

        Args:
            step_tokens: The most that a step computes, padding included; a single longer row goes alone.
        """
        self._step_tokens = step_tokens
        # Request -> its rows as (-length, number): the longest first.
        self._rows: dict[str, list[tuple[int, int]]] = {}
        # Whose turn is next.
        self._turns: deque[str] = deque()
        self._alone: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, request_id: str, lengths: Sequence[int]) -> None:
        """Let the rows of a request wait; *lengths* are their tokens."""
        self._rows[request_id] = sorted((-length, number) for number, length in enumerate(lengths))
        self._turns.append(request_id)

    def remove(self, request_id: str) -> None:
        """Forget a request."""
        if self._rows.pop(request_id, None) is not None:
            self._turns.remove(request_id)
        self._alone.discard(request_id)

    def separate(self, request_ids: Iterable[str]) -> None:
        """From now on no step mixes these requests with others: one of them made a step fail."""
        self._alone.update(request_ids)

    def put_back(self, rows: Iterable[tuple[RowId, int]]) -> None:
        """Let rows wait again whose step failed, each with its length."""
        for row, length in rows:
            if row.request_id not in self._rows:
                self._rows[row.request_id] = []
                self._turns.append(row.request_id)
            self._rows[row.request_id].append((-length, row.number))
            self._rows[row.request_id].sort()

    def next(self) -> list[RowId]:
        """Take the rows of the next step; at least one if any wait."""
        if not self._turns:
            return []
        leader = self._turns[0]
        # Its longest says how many fit, and its next ones pad best.
        longest = -self._rows[leader][0][0]
        room = max(1, self._step_tokens // max(1, longest))
        taken: list[RowId] = []
        others = [] if leader in self._alone else [one for one in self._turns if one not in self._alone][1:]
        for request_id in [leader, *others]:
            taken += self._take(request_id, longest, room - len(taken))
            if len(taken) == room:
                break
        # Whoever has rows left goes to the end of the line.
        if leader in self._rows:
            self._turns.rotate(-1)
        return taken

    def _take(self, request_id: str, longest: int, room: int) -> list[RowId]:
        rows = self._rows[request_id]
        start = bisect_left(rows, (-longest, -1))
        end = start
        while end < len(rows) and end - start < room and -rows[end][0] >= longest * MIN_FILL:
            end += 1
        taken = [RowId(request_id, number) for _, number in rows[start:end]]
        del rows[start:end]
        if not rows:
            del self._rows[request_id]
            self._turns.remove(request_id)
        return taken
