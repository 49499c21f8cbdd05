"""What administrators see: the state of the kernel as replies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from kernel.dispatch import Dispatcher
from kernel.memory import KindFacts
from kernel.memory_watch import MemoryWatch
from kernel.offences import Offences
from kernel.peers import Peers
from kernel.placement import Placement
from kernel.residency import Residency
from kernel.roster import Roster
from kernel.supervisor import Supervisor
from transports.reports import (
    FrontendInfo,
    MemoryReport,
    ModelInfo,
    OutcastInfo,
    QueuedRequest,
    QueueReply,
    StatusReply,
    WorkerInfo,
)


class KernelView(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes while a kernel runs."""

    version: str
    pid: int
    home: str
    started_s: float
    # `Welcome.shared_dir`.
    shared_dir: str = ""
    # What is known of each worker kind.
    kinds: Mapping[str, KindFacts] = {}
    # For all models together, bytes; by default more than there is.
    memory_budget_bytes: int = 2**60


def model_info(model: ModelInfo, residency: Residency) -> ModelInfo:
    """A model of the catalog with its present state."""
    state, error = residency.state(model)
    worker = residency.worker(model.name)
    context = worker[1].context_length if worker else model.context_length
    return msgspec.structs.replace(
        model, state=state, error=error, context_length=context, is_changed=residency.is_changed(model)
    )


def list_models(roster: Roster, residency: Residency) -> tuple[ModelInfo, ...]:
    """All names that can be asked for."""
    own = [model_info(model, residency) for model in roster]
    others = [
        msgspec.structs.replace(model_info(model, residency), name=alias, alias_of=model.name)
        for alias, model in roster.aliases()
    ]
    return tuple(sorted((*own, *others), key=lambda model: model.name))


def queue_reply(dispatcher: Dispatcher, peers: Peers, now: float) -> QueueReply:
    """Who waits for what, in the order in which they will go; nothing of what they ask."""
    waiting = []
    for model in dispatcher.models_waited_for():
        for position, request in enumerate(dispatcher.order(model), start=1):
            peer = peers.get(request.peer)
            waiting.append(
                QueuedRequest(
                    model=model,
                    position=position,
                    frontend=peer.name if peer else "",
                    client=request.message.envelope.client,
                    priority=request.priority,
                    waited_s=now - request.arrived_s,
                    num_bytes=request.num_bytes,
                )
            )
    return QueueReply(requests=tuple(waiting))


class StatusView:
    """Tells the whole state."""

    def __init__(
        self,
        view: KernelView,
        preload: tuple[str, ...],
        roster: Roster,
        supervisor: Supervisor,
        residency: Residency,
        placement: Placement,
        watch: MemoryWatch,
        dispatcher: Dispatcher,
        peers: Peers,
        offences: Offences,
    ) -> None:
        self._view = view
        self._preload = preload
        self._roster = roster
        self._supervisor = supervisor
        self._residency = residency
        self._placement = placement
        self._watch = watch
        self._dispatcher = dispatcher
        self._peers = peers
        self._offences = offences
        # Frontends that cannot start, and why.
        self.refused_frontends: dict[str, str] = {}

    def reply(self, state: str, now: float) -> StatusReply:
        """The answer to status.

        Args:
            state: Of the kernel.
            now: Monotonic seconds.
        """
        waiting_for = self._waiting_for(state)
        return StatusReply(
            version=self._view.version,
            pid=self._view.pid,
            uptime_s=now - self._view.started_s,
            state=state,
            memory_bytes=self._watch.bytes_of(0),
            home=self._view.home,
            is_ready=not waiting_for,
            waiting_for=waiting_for,
            workers=(*self._workers(now), *self._without_process(now)),
            frontends=(*self._frontends(now), *self._visitors()),
            num_waiting=self._dispatcher.num_queued,
            memory=MemoryReport(
                budget_bytes=self._view.memory_budget_bytes,
                charged_bytes=sum(map(self._placement.charge, self._residency.placed())),
                available_bytes=self._watch.available_bytes,
                pressure=self._watch.pressure,
                gpu_free_bytes=self._watch.gpu_free_bytes,
            ),
            outcasts=tuple(
                OutcastInfo(name=out.name, pid=out.pid, reason=out.reason, age_s=now - out.since_s)
                for out in self._offences.outcasts
            ),
        )

    def _workers(self, now: float) -> Iterator[WorkerInfo]:
        for process in self._supervisor:
            if process.role != "worker":
                continue
            info = process.info
            resident = self._residency.get(process.model)
            waits = self._dispatcher.waits(process.model, now)
            yield WorkerInfo(
                name=process.name,
                pid=process.pid,
                kind=process.kind,
                model=process.model,
                state=process.state,
                num_slots=info.num_slots if info else 0,
                num_active=self._dispatcher.num_running_in(process.model),
                num_queued=self._dispatcher.num_queued_for(process.model),
                oldest_wait_s=waits.oldest_s,
                num_started=waits.num_started,
                waited_s=waits.total_s,
                memory_bytes=self._watch.bytes_of(process.pid) if process.pid else 0,
                gpu_memory_bytes=self._watch.gpu_bytes_of(process.pid) if process.pid else 0,
                uptime_s=now - process.since_s,
                num_restarts=process.policy.num_restarts,
                device=info.device if info else "",
                notes=(*(info.notes if info else ()), *self._changes(process.model)),
                error=process.error,
                retry_in_s=process.retry_in_s(now),
                last_words=process.last_words if process.is_down else (),
                progress=resident.progress if resident and process.state in ("starting", "loading") else None,
                estimate=resident.plan.estimate(resident.kv_bytes) if resident else None,
                is_pinned=self._residency.is_pinned(process.model),
                leaves_in_s=self._residency.leaves_in_s(process.model, now),
            )

    def _changes(self, model: str) -> Iterator[str]:
        """What has become of a loaded model's files, as the disk was last seen."""
        info = self._roster.seen(model)
        if info is None:
            yield "gone from the disk since it was loaded"
        elif self._residency.is_changed(info):
            yield "changed on disk since it was loaded; the next load takes what is there now"

    def _without_process(self, now: float) -> Iterator[WorkerInfo]:
        """Models that are asked for and have no process yet, or will not get one."""
        for resident in self._residency:
            if self._residency.process(resident) is None:
                yield WorkerInfo(
                    name=resident.worker_name,
                    pid=0,
                    kind=resident.kind,
                    model=resident.name,
                    state=resident.phase,
                    num_queued=self._dispatcher.num_queued_for(resident.name),
                    oldest_wait_s=self._dispatcher.waits(resident.name, now).oldest_s,
                    uptime_s=now - resident.wanted_s if resident.phase == "waiting" else 0.0,
                    error=self._placement.hindrance(resident) if resident.phase == "waiting" else "",
                    progress=resident.progress,
                )
        for model, error, age_s, retry_in_s in self._residency.failures(now):
            yield WorkerInfo(
                name=model,
                pid=0,
                kind="",
                model=model,
                state="failed",
                uptime_s=age_s,
                error=error.message,
                retry_in_s=retry_in_s,
            )

    def _frontends(self, now: float) -> Iterator[FrontendInfo]:
        for process in self._supervisor:
            if process.role == "frontend":
                yield FrontendInfo(
                    name=process.name,
                    pid=process.pid,
                    kind=process.kind,
                    supervised=True,
                    state=process.state,
                    num_requests=self._dispatcher.num_of_peer(process.peer),
                    memory_bytes=self._watch.bytes_of(process.pid) if process.pid else 0,
                    num_restarts=process.policy.num_restarts,
                    error=process.error,
                    address=process.address,
                    retry_in_s=process.retry_in_s(now),
                    last_words=process.last_words if process.is_down else (),
                )
        for kind, reason in self.refused_frontends.items():
            yield FrontendInfo(
                name=f"frontend:{kind}", pid=0, kind=kind, supervised=True, state="failed", error=reason
            )

    def _visitors(self) -> Iterator[FrontendInfo]:
        """Frontends that the kernel did not start."""
        for peer in self._peers:
            if peer.role == "frontend" and peer.process is None:
                yield FrontendInfo(
                    name=peer.name,
                    pid=peer.pid,
                    kind=peer.kind,
                    supervised=False,
                    state="ready",
                    num_requests=self._dispatcher.num_of_peer(peer.id),
                    address=peer.address,
                )

    def _waiting_for(self, state: str) -> tuple[str, ...]:
        models = [f"{name}: not loaded yet" for name in self._preload if self._residency.is_missing(name)]
        processes = [process for process in self._supervisor if process.role == "frontend"]
        # One that does not run keeps nobody waiting who is answered by another.
        is_answered = any(process.state == "ready" for process in processes)
        frontends = [
            f"frontend {process.kind}: {process.error or process.state}"
            for process in processes
            if process.state != "ready" and not (is_answered and process.is_down)
        ]
        if not is_answered:
            frontends += [f"frontend {kind}: {reason}" for kind, reason in self.refused_frontends.items()]
        return (*models, *frontends, *([] if state == "running" else [f"mlxd is {state}"]))
