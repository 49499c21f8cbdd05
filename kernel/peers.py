"""Who is connected: frontends and workers that said hello."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kernel.supervisor import Process
from transports.errors import MlxdError, RemoteProtocolError
from transports.messages import Hello, MessageType, Role

# Which role may send what after its hello; nothing else is read.
ALLOWED: dict[Role, frozenset[MessageType]] = {
    "frontend": frozenset({"hello", "bye", "pong", "submit", "cancel", "admin"}),
    "worker": frozenset({"hello", "bye", "pong", "events", "failed", "progress", "ready"}),
}


@dataclass(slots=True)
class Peer:
    """A connected frontend or worker."""

    id: str
    role: Role
    kind: str
    name: str
    pid: int
    address: str
    # The supervised process behind it; None for one that came by itself, such as the CLI.
    process: Process | None
    since_s: float
    heard_s: float


class Peers:
    """The connected peers by ZeroMQ identity."""

    def __init__(self, max_peers: int) -> None:
        self._max_peers = max_peers
        self._peers: dict[str, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def __contains__(self, peer_id: str) -> bool:
        return peer_id in self._peers

    def get(self, peer_id: str) -> Peer | None:
        """The peer of that identity, if it said hello."""
        return self._peers.get(peer_id)

    def add(self, peer_id: str, hello: Hello, process: Process | None, now: float) -> Peer:
        """Remember a peer.

        Raises:
            RemoteProtocolError: There are too many.
        """
        if len(self._peers) >= self._max_peers:
            raise RemoteProtocolError(
                f"hello: {self._max_peers} peers are connected already (kernel.max_peers)"
            )
        peer = Peer(
            id=peer_id,
            role=hello.role,
            kind=hello.kind,
            name=process.name if process else hello.name,
            pid=hello.pid,
            address=hello.address,
            process=process,
            since_s=now,
            heard_s=now,
        )
        self._peers[peer_id] = peer
        return peer

    def remove(self, peer_id: str) -> Peer | None:
        """Forget a peer."""
        return self._peers.pop(peer_id, None)

    def silent(self, now: float, dead_after_s: float) -> tuple[Peer, ...]:
        """Peers that came by themselves and gave no sign of life for too long."""
        return tuple(peer for peer in self if peer.process is None and now - peer.heard_s >= dead_after_s)


def check_allowed(role: Role, type_: MessageType) -> MlxdError | None:
    """What is wrong with a message of *type_* from a peer of *role*."""
    if type_ in ALLOWED[role]:
        return None
    return RemoteProtocolError(f"{type_}: a {role} may send {', '.join(sorted(ALLOWED[role]))}")
