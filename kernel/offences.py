"""What peers do wrong: they are told, and whoever does it too often is cut off. Knows no request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kernel.actions import Disconnect, Emit, Log, Send
from kernel.peers import Peer, Peers
from kernel.supervisor import Supervisor
from transports.buckets import Buckets
from transports.errors import CutOff, MlxdError
from transports.frames import Parcel, parcel
from transports.settings import KernelSettings

# What is counted of each peer.
Counted = Literal["messages", "bytes", "refused", "malformed"]
# Of what is allowed in a second, so much may come at once.
BURST_S = 0.5
# Of those that were cut off, the last so many are told by status.
MAX_TOLD = 8


@dataclass(frozen=True, slots=True)
class Outcast:
    """A peer that was cut off."""

    name: str
    pid: int
    reason: str
    since_s: float


class Offences:
    """Counts what each peer sends, and what of it was wrong or of no use."""

    def __init__(
        self,
        settings: KernelSettings,
        peers: Peers,
        supervisor: Supervisor,
        lose: Callable[[str, str, float], None],
        emit: Emit,
    ) -> None:
        """Nobody has done anything.

        Args:
            settings: The limits.
            peers: Who is connected.
            supervisor: Ends those that the kernel started.
            lose: Forgets a peer for a reason.
            emit: Takes actions.
        """
        self._peers = peers
        self._supervisor = supervisor
        self._lose = lose
        self._emit = emit
        self._limits: dict[Counted, int] = {
            "messages": settings.max_messages_per_s,
            "bytes": settings.max_bytes_per_s,
            "refused": settings.max_refused_per_s,
            "malformed": settings.max_malformed_per_s,
        }
        self._buckets: dict[Counted, Buckets[str]] = {what: Buckets(BURST_S) for what in self._limits}
        # The newest last.
        self.outcasts: deque[Outcast] = deque(maxlen=MAX_TOLD)

    def is_too_much(self, peer_id: str, message: Parcel, now: float) -> bool:
        """Count a message of a frontend or a stranger; whether its sender was cut off for it."""
        peer = self._peers.get(peer_id)
        if peer and peer.role == "worker":
            return False
        return self._count("messages", peer_id, now) or self._count("bytes", peer_id, now, message.num_bytes)

    def useless(self, peer_id: str, now: float) -> bool:
        """Count one that was refused or changed nothing; whether its sender was cut off for it."""
        return self._count("refused", peer_id, now)

    def malformed(self, peer_id: str, error: MlxdError, now: float) -> None:
        """Frames that are no message have no answer."""
        if self._buckets["malformed"].is_empty(peer_id, now):
            self._emit(Log("warning", "malformed_message", {"peer": peer_id, "reason": error.message}))
        peer = self._peers.get(peer_id)
        if peer and peer.process:
            self._supervisor.fail(peer.process, error.message, now)
        else:
            self._count("malformed", peer_id, now)

    def refuse(self, peer_id: str, message: Parcel, error: MlxdError, now: float) -> None:
        """A frontend is told what was wrong; a worker that breaks the protocol is not to be trusted."""
        peer = self._peers.get(peer_id)
        if peer and peer.role == "worker" and peer.process:
            self._supervisor.fail(peer.process, error.message, now)
            return
        ids = message.envelope.ids
        self._emit(Send(peer_id, parcel("failed", error.to_failed(), ids=ids, finished=ids)))
        if peer is None or not ids:
            self._count("malformed", peer_id, now)
        else:
            self.useless(peer_id, now)

    def _count(self, what: Counted, peer_id: str, now: float, amount: float = 1) -> bool:
        """Whether it is too much now, and the peer was cut off."""
        limit = self._limits[what]
        if not limit or not self._buckets[what].put(peer_id, limit * BURST_S, now, amount):
            return False
        reason = f"it sent more in a second than kernel.max_{what}_per_s allows"
        self._cut_off(self._peers.get(peer_id), peer_id, reason, now)
        return True

    def _cut_off(self, peer: Peer | None, peer_id: str, reason: str, now: float) -> None:
        if peer and peer.process:
            self._supervisor.fail(peer.process, reason, now)
            return
        name, pid = (peer.name, peer.pid) if peer else ("", 0)
        self._emit(Log("warning", "peer_cut_off", {"name": name, "pid": pid, "reason": reason}))
        self._emit(Send(peer_id, parcel("failed", CutOff(reason).to_failed())))
        self._emit(Disconnect(peer_id))
        self.outcasts.append(Outcast(name, pid, reason, now))
        self._lose(peer_id, "was cut off", now)
