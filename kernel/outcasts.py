"""Processes that may not connect, and of which nothing is read, for a while. Knows no message."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# Those that were cut off last, and their identities.
MAX_REMEMBERED = 1024
# For the answer that says why to leave; and what came before a connection was closed closes no other.
RESPITE_S = 0.05
# Each further time is twice as long as the last, up to this.
MAX_TERM_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Term:
    length_s: float
    until_s: float


class Outcasts:
    """Origins and until when each is out, and when to close the connection that each identity still has."""

    def __init__(self, first_term_s: float) -> None:
        """Nobody is out.

        Args:
            first_term_s: How long one is out the first time, and after it behaved for as long as the last.
        """
        self._first_term_s = first_term_s
        self._terms: OrderedDict[str, _Term] = OrderedDict()
        self._next_s: OrderedDict[str, float] = OrderedDict()

    def add(self, peer: str, origin: str, now: float) -> None:
        """Read no more of *origin* for a while; *peer* is one of its identities, and is told why."""
        self._close_next(peer, now + RESPITE_S)
        if self.is_out(origin, now):
            return
        last = self._terms.pop(origin, None)
        length_s = self._first_term_s
        if last and now < last.until_s + last.length_s:
            length_s = min(2 * last.length_s, max(MAX_TERM_S, self._first_term_s))
        self._terms[origin] = _Term(length_s, now + length_s)
        if len(self._terms) > MAX_REMEMBERED:
            self._terms.popitem(last=False)

    def is_out(self, origin: str, now: float) -> bool:
        """Whether nothing is read of it, and no new connection let in."""
        term = self._terms.get(origin)
        return term is not None and now < term.until_s

    def must_go(self, peer: str, now: float) -> bool:
        """Whether to close the old connection of *peer*, of an origin that is out: it just said something."""
        if now < self._next_s.get(peer, now):
            return False
        self._close_next(peer, now + RESPITE_S)
        return True

    def _close_next(self, peer: str, due_s: float) -> None:
        self._next_s[peer] = due_s
        self._next_s.move_to_end(peer)
        if len(self._next_s) > MAX_REMEMBERED:
            self._next_s.popitem(last=False)
