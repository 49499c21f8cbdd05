"""Pings to all peers, and a clock that leaves out the time in which the kernel stood still."""

from __future__ import annotations

from kernel.actions import Emit, Send
from kernel.lost_requests import LostRequests
from kernel.peers import Peer, Peers
from transports.frames import parcel
from transports.messages import Ping
from transports.settings import KernelSettings


class Heartbeat:
    """Times are seconds of that clock, but for those of `awake` and `on_the_clock`."""

    def __init__(
        self, settings: KernelSettings, peers: Peers, lost_requests: LostRequests, emit: Emit
    ) -> None:
        self._interval_s = settings.heartbeat_s
        self._peers = peers
        self._lost_requests = lost_requests
        self._emit = emit
        self._next_s = 0.0
        # How long the kernel stood still so far.
        self._asleep_s = 0.0
        # What `awake` said last.
        self._last_s = 0.0

    def start(self, now: float) -> None:
        """The first pings are due now."""
        self._next_s = now

    def awake(self, now: float) -> float:
        """*now* less the time in which the kernel stood still, as after SIGSTOP or a laptop's sleep.

        It pinged nobody and heard nobody then: no deadline may pass for it. Never earlier than the last time.
        """
        late_s = now - self._asleep_s - max(self._next_s, self._last_s)
        if late_s > self._interval_s:
            self._asleep_s += late_s
        self._last_s = now - self._asleep_s
        return self._last_s

    def on_the_clock(self, due_s: float) -> float:
        """When *due_s* is, in monotonic seconds."""
        return due_s + self._asleep_s

    def next_deadline(self) -> float:
        """When the next pings are due."""
        return self._next_s

    def tick(self, now: float) -> None:
        """Ping everybody when it is time."""
        if now < self._next_s:
            return
        self._next_s = now + self._interval_s
        for peer in self._peers:
            peer.num_pings += 1
            # Every worker has a process: the kernel started it.
            worker = peer.process if peer.role == "worker" else None
            ping = self._lost_requests.question(worker) if worker else Ping()
            self._emit(Send(peer.id, parcel("ping", ping)))

    def answered(self, peer: Peer) -> bool:
        """A pong came; whether it is the answer to a ping."""
        if not peer.num_pings:
            return False
        peer.num_pings -= 1
        return True
