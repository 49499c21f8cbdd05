"""Who is behind each identity: all connections of a process are one. Knows no message."""

from __future__ import annotations

from collections import OrderedDict

# Those that spoke last; of strangers nobody says when they are gone.
MAX_REMEMBERED = 4096


class Origins:
    """The origin of each identity, which is the identity itself where the transport tells none."""

    def __init__(self) -> None:
        self._origins: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._origins)

    def learn(self, peer: str, origin: str) -> None:
        """*peer* said something, and came from *origin*; "" is unknown."""
        if not origin:
            return
        self._origins[peer] = origin
        self._origins.move_to_end(peer)
        if len(self._origins) > MAX_REMEMBERED:
            self._origins.popitem(last=False)

    def forget(self, peer: str) -> None:
        """*peer* is gone: each connection of a good process has a new identity."""
        self._origins.pop(peer, None)

    def of(self, peer: str) -> str:
        """Who is behind *peer*."""
        return self._origins.get(peer, peer)
