"""What administrators see: the state of the kernel as replies."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kernel.dispatch import Dispatcher
from kernel.peers import Peers
from kernel.residency import Residency
from kernel.supervisor import Process, Supervisor
from transports.messages import FrontendInfo, ModelInfo, StatusReply, WorkerInfo

Setting = str | int | float | bool | None


class KernelView(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes while a kernel runs."""

    version: str
    pid: int
    home: str
    started_s: float
    # The settings section of each worker kind.
    worker_settings: Mapping[str, dict[str, Setting]] = {}


def model_info(model: ModelInfo, residency: Residency) -> ModelInfo:
    """A model of the catalog with its present state."""
    state, error = residency.state(model)
    worker = residency.worker(model.name)
    context = worker[1].context_length if worker else model.context_length
    return msgspec.structs.replace(model, state=state, error=error, context_length=context)


def status_reply(
    view: KernelView,
    state: str,
    preload: tuple[str, ...],
    supervisor: Supervisor,
    residency: Residency,
    dispatcher: Dispatcher,
    peers: Peers,
    refused_frontends: Mapping[str, str],
    memory_bytes: Mapping[int, int],
    now: float,
) -> StatusReply:
    """The whole state; *memory_bytes* by pid, the kernel's own under 0."""
    workers = [_worker(p, dispatcher, memory_bytes, now) for p in supervisor if p.role == "worker"]
    waiting_for = [f"{name}: not loaded yet" for name in preload if residency.worker(name) is None]
    waiting_for += [
        f"frontend {p.kind}: {p.error or p.state}"
        for p in supervisor
        if p.role == "frontend" and p.state != "ready"
    ]
    waiting_for += [f"frontend {kind}: {reason}" for kind, reason in refused_frontends.items()]
    if state != "running":
        waiting_for.append(f"mlxd is {state}")
    return StatusReply(
        version=view.version,
        pid=view.pid,
        uptime_s=now - view.started_s,
        state=state,
        memory_bytes=memory_bytes.get(0, 0),
        home=view.home,
        is_ready=not waiting_for,
        waiting_for=tuple(waiting_for),
        workers=tuple(workers),
        frontends=_frontends(supervisor, dispatcher, peers, refused_frontends, memory_bytes),
        num_waiting=dispatcher.num_queued,
    )


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
