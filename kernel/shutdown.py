"""How the kernel ends: first it drains, then it asks its processes to end, then it makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from kernel.actions import Emit, Exit, Log, Send
from kernel.dispatch import Dispatcher
from kernel.events import MessageReceived
from kernel.peers import Peers
from kernel.residency import Residency
from kernel.roster import Roster
from kernel.supervisor import Supervisor
from transports.errors import MlxdError, ShuttingDown
from transports.frames import parcel
from transports.messages import Drain
from transports.settings import KernelSettings

State = Literal["running", "draining", "stopping"]
# Refuses a request that waits for a look at the disk.
Refuse = Callable[[MessageReceived, MlxdError, float], None]


class Shutdown:
    """Whether the kernel runs, and when it does no more."""

    def __init__(
        self,
        settings: KernelSettings,
        supervisor: Supervisor,
        peers: Peers,
        residency: Residency,
        roster: Roster,
        dispatcher: Dispatcher,
        refuse: Refuse,
        emit: Emit,
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._peers = peers
        self._residency = residency
        self._roster = roster
        self._dispatcher = dispatcher
        self._refuse = refuse
        self._emit = emit
        self.state: State = "running"
        self._drain_deadline_s: float | None = None
        # When the kernel ends although a process does not.
        self._exit_deadline_s: float | None = None

    def stop(self, now: float, *, at_once: bool) -> None:
        """Let what runs finish; the second time, or *at_once*, end everything now."""
        if self.state == "running" and not at_once:
            self.state = "draining"
            self._drain_deadline_s = now + self._settings.drain_timeout_s
            self._emit(Log("info", "draining", {"num_requests": len(self._dispatcher)}))
            for peer in self._peers:
                if peer.role == "frontend":
                    self.tell(peer.id)
            self._supervisor.let_frontends_leave(now)
            return
        self.state = "stopping"
        self._drain_deadline_s = None
        self._exit_deadline_s = now + self._settings.kill_timeout_s
        self._residency.shut()
        self._fail_all(ShuttingDown("mlxd is ending now"), now)
        self._supervisor.end_all(now)

    def tell(self, peer: str) -> None:
        """Tell a frontend to take no new work."""
        self._emit(Send(peer, parcel("drain", Drain())))

    def next_deadline(self) -> float | None:
        """When `tick` or `settle` has something to do."""
        return self._exit_deadline_s if self._drain_deadline_s is None else self._drain_deadline_s

    def tick(self, now: float) -> None:
        """What still runs has had its time."""
        if self._drain_deadline_s is not None and self._drain_deadline_s <= now:
            late = ShuttingDown("mlxd is shutting down; the request took longer than allowed")
            self._fail_all(late, now)
            self._begin_stopping(now)

    def settle(self, now: float) -> None:
        """Go on when all requests, or all processes, have ended."""
        if self.state == "draining" and not len(self._dispatcher) and not self._roster.num_parked:
            self._begin_stopping(now)
        if self.state != "stopping":
            return
        left = [process.name for process in self._supervisor if process.is_live]
        if not left or (self._exit_deadline_s is not None and self._exit_deadline_s <= now):
            self._exit_deadline_s = None
            if left:
                self._emit(Log("error", "processes_left", {"names": left}))
            self._emit(Exit(1 if left else 0))

    def _begin_stopping(self, now: float) -> None:
        self.state, self._drain_deadline_s = "stopping", None
        self._exit_deadline_s = now + self._settings.stop_timeout_s + 2 * self._settings.kill_timeout_s
        self._residency.shut()
        for process in self._supervisor:
            self._supervisor.stop(process, now)

    def _fail_all(self, error: MlxdError, now: float) -> None:
        self._dispatcher.fail_all(error, now)
        for parked in self._roster.take_all_parked():
            self._refuse(parked, error, now)
