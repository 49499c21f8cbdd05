"""Who is connected: frontends and workers that said hello."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from kernel.actions import Action, Log, MakeFolder, Send
from kernel.supervisor import Process, Supervisor
from transports.envelope import MAX_PEER_ID, MessageType
from transports.errors import Forbidden, MlxdError, RemoteProtocolError
from transports.frames import parcel
from transports.messages import Hello, Role, Welcome
from transports.settings import KernelSettings

# Why a peer left, when it did so on purpose.
SAID_BYE = "said bye"
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
    heard_s: float
    # Of the kernel's, without an answer.
    num_pings: int = 0


class Peers:
    """The connected peers by ZeroMQ identity."""

    def __init__(
        self,
        settings: KernelSettings,
        version: str,
        shared_dir: str,
        client_token: str,
        supervisor: Supervisor,
    ) -> None:
        """Nobody is connected.

        Args:
            settings: Limits, and what a welcome tells of them.
            version: Of mlxd; peers must have the same.
            shared_dir: `Welcome.shared_dir`.
            client_token: What frontends say in hello that the kernel did not start.
            supervisor: Knows the tokens of those that it did.
        """
        self._settings = settings
        self._version = version
        self._shared_dir = shared_dir
        self._client_token = client_token
        self._supervisor = supervisor
        self._peers: dict[str, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def __contains__(self, peer_id: str) -> bool:
        return peer_id in self._peers

    def get(self, peer_id: str) -> Peer | None:
        """The peer of that identity, if it said hello."""
        return self._peers.get(peer_id)

    def admit(self, peer_id: str, hello: Hello, now: float) -> Peer:
        """Let somebody in.

        Raises:
            Forbidden: The token is not one that this kernel gave out, or not for this role.
            RemoteProtocolError: Another version, an identity that is too long, or too many peers.
        """
        # `Envelope.peer` takes it back and forth.
        if len(peer_id) > MAX_PEER_ID:
            raise RemoteProtocolError(f"hello: expected an identity of at most {MAX_PEER_ID} bytes")
        if hello.mlxd_version != self._version:
            raise RemoteProtocolError(
                f"hello: this kernel is mlxd {self._version}, {hello.name} is {hello.mlxd_version}; "
                "restart the older one"
            )
        process = self._supervisor.hello(peer_id, hello, now)
        if process is None:
            self._check_visitor(hello)
        peer = Peer(
            id=peer_id,
            role=hello.role,
            kind=hello.kind,
            name=process.name if process else hello.name,
            pid=hello.pid,
            address=hello.address,
            process=process,
            heard_s=now,
        )
        self._peers[peer_id] = peer
        return peer

    def welcome(self, peer: Peer) -> tuple[Action, ...]:
        """The answer to a good hello; a frontend's folder is there when it comes."""
        welcome = Welcome(
            kernel_version=self._version,
            heartbeat_s=self._settings.heartbeat_s,
            dead_after_s=self._settings.dead_after_s,
            max_frame_bytes=self._settings.max_frame_bytes,
            max_frames=self._settings.max_frames,
            shared_dir=self._shared_dir,
        )
        answer = Send(peer.id, parcel("welcome", welcome))
        return (MakeFolder(peer.id), answer) if peer.role == "frontend" else (answer,)

    def remove(self, peer_id: str) -> Peer | None:
        """Forget a peer."""
        return self._peers.pop(peer_id, None)

    def silent(self, now: float, dead_after_s: float) -> tuple[Peer, ...]:
        """Peers that came by themselves and gave no sign of life for too long."""
        return tuple(peer for peer in self if peer.process is None and now - peer.heard_s >= dead_after_s)

    def _check_visitor(self, hello: Hello) -> None:
        is_known = secrets.compare_digest(hello.token.encode(), self._client_token.encode())
        if hello.role == "worker" or not is_known:
            raise Forbidden("hello: the token is not one that this kernel gave out")
        # Visitors only: they must not keep the kernel's own processes out.
        if sum(peer.process is None for peer in self) >= self._settings.max_peers:
            raise RemoteProtocolError(
                f"hello: {self._settings.max_peers} peers are connected already (kernel.max_peers)"
            )


def check_allowed(role: Role, type_: MessageType) -> MlxdError | None:
    """What is wrong with a message of *type_* from a peer of *role*."""
    if type_ in ALLOWED[role]:
        return None
    return RemoteProtocolError(f"{type_}: a {role} may send {', '.join(sorted(ALLOWED[role]))}")


def farewell(peer: Peer, reason: str) -> Log:
    """What the log says of a peer that left. A command that ended as it should is no news."""
    fields = {"name": peer.name, "reason": reason}
    if peer.process is None and reason == SAID_BYE:
        return Log("debug", "peer_left", fields)
    return Log("info", "peer_left", fields)
