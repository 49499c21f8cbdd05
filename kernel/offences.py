"""What peers do wrong: they are told, and whoever does it too often is cut off. Knows no request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kernel.actions import Disconnect, Emit, Log, Send
from kernel.events import MalformedReceived, MessageReceived
from kernel.origins import Origins
from kernel.peers import Peers
from kernel.supervisor import Supervisor
from transports.buckets import Buckets
from transports.errors import CutOff, MlxdError
from transports.frames import Parcel, parcel
from transports.settings import KernelSettings

# What is counted of each origin.
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
    """Counts what each process sends, over all its connections, and what of it was wrong or of no use."""

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
        self._origins = Origins()
        # The newest last.
        self.outcasts: deque[Outcast] = deque(maxlen=MAX_TOLD)

    def is_too_much(self, event: MessageReceived, now: float) -> bool:
        """Count a message of a frontend or a stranger; whether its sender was cut off for it."""
        peer = self._peers.get(event.peer)
        if peer and peer.role == "worker":
            return False
        self._origins.learn(event.peer, event.origin)
        return self._count("messages", event.peer, now) or self._count(
            "bytes", event.peer, now, event.message.num_bytes
        )

    def peer_lost(self, peer_id: str) -> None:
        """Its connection is gone; what its process sent still counts."""
        self._origins.forget(peer_id)

    def useless(self, peer_id: str, now: float) -> bool:
        """Count one that was refused or changed nothing; whether its sender was cut off for it."""
        return self._count("refused", peer_id, now)

    def malformed(self, event: MalformedReceived, now: float) -> None:
        """Frames that are no message have no answer."""
        reason = event.error.message
        self._origins.learn(event.peer, event.origin)
        if self._buckets["malformed"].is_empty(self._origins.of(event.peer), now):
            self._emit(Log("warning", "malformed_message", {"peer": event.peer, "reason": reason}))
        peer = self._peers.get(event.peer)
        if peer and peer.process:
            self._supervisor.fail(peer.process, reason, now)
        else:
            self._count("malformed", event.peer, now)

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
        """Whether it is too much now, and who is behind the peer was cut off."""
        limit, origin = self._limits[what], self._origins.of(peer_id)
        if not limit or not self._buckets[what].put(origin, limit * BURST_S, now, amount):
            return False
        reason = f"it sent more in a second than kernel.max_{what}_per_s allows"
        self._cut_off(peer_id, origin, reason, now)
        return True

    def _cut_off(self, peer_id: str, origin: str, reason: str, now: float) -> None:
        """The whole process, with all its connections; one that the kernel started is ended."""
        theirs = [peer for peer in self._peers if self._origins.of(peer.id) == origin]
        processes = [peer.process for peer in theirs if peer.process]
        for process in processes:
            self._supervisor.fail(process, reason, now)
        if not processes:
            peer = self._peers.get(peer_id) or next(iter(theirs), None)
            name, pid = (peer.name, peer.pid) if peer else ("", 0)
            self._emit(Log("warning", "peer_cut_off", {"name": name, "pid": pid, "reason": reason}))
            self.outcasts.append(Outcast(name, pid, reason, now))
        # A stranger's identity is not among those of the peers.
        for identity in dict.fromkeys((peer_id, *(peer.id for peer in theirs))):
            self._emit(Send(identity, parcel("failed", CutOff(reason).to_failed())))
            self._emit(Disconnect(identity, origin))
        for peer in theirs:
            if not peer.process:
                self._lose(peer.id, "was cut off", now)
