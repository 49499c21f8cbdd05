"""What administrators see: the state of the kernel as replies."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kernel.dispatch import Dispatcher
from kernel.peers import Peers
from kernel.residency import Residency
from kernel.supervisor import Process, Supervisor
from transports.reports import FrontendInfo, ModelInfo, StatusReply, WorkerInfo

Setting = str | int | float | bool | None


class KernelView(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes while a kernel runs."""

    version: str
    pid: int
    home: str
    started_s: float
    # `Welcome.shared_dir`.
    shared_dir: str = ""
    # The settings section of each worker kind.
    worker_settings: Mapping[str, dict[str, Setting]] = {}


def model_info(model: ModelInfo, residency: Residency) -> ModelInfo:
    """A model of the catalog with its present state."""
    state, error = residency.state(model)
    worker = residency.worker(model.name)
    context = worker[1].context_length if worker else model.context_length
    return msgspec.structs.replace(model, state=state, error=error, context_length=context)


class StatusView:
    """Tells the whole state."""

    def __init__(
        self,
        view: KernelView,
        preload: tuple[str, ...],
        supervisor: Supervisor,
        residency: Residency,
        dispatcher: Dispatcher,
        peers: Peers,
    ) -> None:
        self._view = view
        self._preload = preload
        self._supervisor = supervisor
        self._residency = residency
        self._dispatcher = dispatcher
        self._peers = peers
        # Frontends that cannot start, and why.
        self.refused_frontends: dict[str, str] = {}

    def reply(self, state: str, memory_bytes: Mapping[int, int], now: float) -> StatusReply:
        """The answer to status.

        Args:
            state: Of the kernel.
            memory_bytes: By pid; the kernel's own is under 0.
            now: Monotonic seconds.
        """
        waiting_for = self._waiting_for(state)
        return StatusReply(
            version=self._view.version,
            pid=self._view.pid,
            uptime_s=now - self._view.started_s,
            state=state,
            memory_bytes=memory_bytes.get(0, 0),
            home=self._view.home,
            is_ready=not waiting_for,
            waiting_for=waiting_for,
            workers=tuple(
                _worker(process, self._dispatcher, memory_bytes, now)
                for process in self._supervisor
                if process.role == "worker"
            ),
            frontends=_frontends(
                self._supervisor, self._dispatcher, self._peers, self.refused_frontends, memory_bytes
            ),
            num_waiting=self._dispatcher.num_queued,
        )

    def _waiting_for(self, state: str) -> tuple[str, ...]:
        models = [f"{name}: not loaded yet" for name in self._preload if self._residency.is_missing(name)]
        frontends = [
            f"frontend {process.kind}: {process.error or process.state}"
            for process in self._supervisor
            if process.role == "frontend" and process.state != "ready"
        ]
        refused = [f"frontend {kind}: {reason}" for kind, reason in self.refused_frontends.items()]
        return (*models, *frontends, *refused, *([] if state == "running" else [f"mlxd is {state}"]))


def _worker(
    process: Process, dispatcher: Dispatcher, memory_bytes: Mapping[int, int], now: float
) -> WorkerInfo:
    info = process.info
    return WorkerInfo(
        name=process.name,
        pid=process.pid,
        kind=process.kind,
        model=process.model,
        state=process.state,
        num_slots=info.num_slots if info else 0,
        num_active=dispatcher.num_running_in(process.model),
        num_queued=dispatcher.num_queued_for(process.model),
        memory_bytes=memory_bytes.get(process.pid, 0),
        uptime_s=now - process.since_s,
        num_restarts=process.policy.num_restarts,
        device=info.device if info else "",
        notes=info.notes if info else (),
        error=process.error,
    )


def _frontends(
    supervisor: Supervisor,
    dispatcher: Dispatcher,
    peers: Peers,
    refused: Mapping[str, str],
    memory_bytes: Mapping[int, int],
) -> tuple[FrontendInfo, ...]:
    supervised = [
        FrontendInfo(
            name=process.name,
            pid=process.pid,
            kind=process.kind,
            supervised=True,
            state=process.state,
            num_requests=dispatcher.num_of_peer(process.peer),
            memory_bytes=memory_bytes.get(process.pid, 0),
            num_restarts=process.policy.num_restarts,
            error=process.error,
            address=process.address,
        )
        for process in supervisor
        if process.role == "frontend"
    ]
    failed = [
        FrontendInfo(name=f"frontend:{kind}", pid=0, kind=kind, supervised=True, state="failed", error=reason)
        for kind, reason in refused.items()
    ]
    visiting = [
        FrontendInfo(
            name=peer.name,
            pid=peer.pid,
            kind=peer.kind,
            supervised=False,
            state="ready",
            num_requests=dispatcher.num_of_peer(peer.id),
            address=peer.address,
        )
        for peer in peers
        if peer.role == "frontend" and peer.process is None
    ]
    return (*supervised, *failed, *visiting)
