"""Peers of which nothing more is read. Knows no message."""

from __future__ import annotations

from collections import OrderedDict

# Those that were cut off last; each connection of a good peer has a new identity.
MAX_REMEMBERED = 1024
# For the answer that says why to leave; and libzmq connects again ten times a second.
RESPITE_S = 0.05


class Outcasts:
    """Identities, and when the connection of each is to be closed next."""

    def __init__(self) -> None:
        self._next_s: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, peer: str) -> bool:
        return peer in self._next_s

    def add(self, peer: str, now: float) -> None:
        """Read no more of it."""
        self._next_s[peer] = now + RESPITE_S
        while len(self._next_s) > MAX_REMEMBERED:
            self._next_s.popitem(last=False)

    def must_go(self, peer: str, now: float) -> bool:
        """Whether to close the connection of one of them, which said something just now."""
        if now < self._next_s[peer]:
            return False
        self._next_s[peer] = now + RESPITE_S
        return True
