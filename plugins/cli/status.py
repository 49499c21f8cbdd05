"""`mlxd ps` and `mlxd status`: what runs, and what waits."""

from __future__ import annotations

import click

from plugins.cli import session
from plugins.cli.exits import NOT_RUNNING
from plugins.cli.output import duration, memory, print_fields, print_json, print_table, size
from plugins.cli.progress import words
from plugins.cli.sanitize import clean_line
from plugins.submit_terms import PRIORITIES
from transports.reports import (
    Admin,
    FrontendInfo,
    MemoryReport,
    QueuedRequest,
    QueueReply,
    StatusReply,
    WorkerInfo,
)

NO_KERNEL = "No kernel is running; `mlxd serve` starts one."


@click.command()
@click.option("--queue", "is_queue", is_flag=True, help="List the requests that wait instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list.")
def ps(is_queue: bool, as_json: bool) -> None:
    """List the workers: one process for each model in memory.

    Without a running kernel there are none, and that is no error.
    """
    if is_queue:
        _print_queue(session.run(_fetch_queue()), as_json=as_json)
        return
    found = session.run(_fetch())
    workers = tuple(worker for worker in found.workers if worker.state != "failed") if found else ()
    if as_json:
        print_json(workers)
    elif found is None:
        click.echo(NO_KERNEL, err=True)
    elif not workers:
        click.echo("No model is in memory.", err=True)
    else:
        _print_workers(workers)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> int:
    """Show what the running kernel does, what it waits for, and why something does not run.

    The exit code is 0 when a kernel runs and 3 when none does.
    """
    found = session.run(_fetch())
    if found is None:
        if as_json:
            print_json({"state": "stopped"})
        else:
            click.echo(NO_KERNEL, err=True)
        return NOT_RUNNING
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    return 0


async def _fetch_queue() -> QueueReply | None:
    async with session.running_kernel() as client:
        return await client.admin("queue", Admin(), QueueReply) if client else None


def _print_queue(found: QueueReply | None, *, as_json: bool) -> None:
    requests = found.requests if found else ()
    if as_json:
        print_json(requests)
    elif found is None:
        click.echo(NO_KERNEL, err=True)
    elif not requests:
        click.echo("No request waits.", err=True)
    else:
        print_table(
            ("MODEL", "POSITION", "PRIORITY", "WAIT", "FRONTEND", "CLIENT"),
            [_queued_row(request) for request in requests],
            folded="CLIENT",
        )


async def _fetch() -> StatusReply | None:
    async with session.running_kernel() as client:
        if client is None:
            return None
        # The kernel looks at the disk for that: what changed there says so.
        await client.models()
        return await client.status()


def _print_status(found: StatusReply) -> None:
    print_fields(
        {
            "kernel": f"mlxd {found.version}, pid {found.pid}, {found.state} for {duration(found.uptime_s)}",
            "home": found.home,
            "memory": size(found.memory_bytes),
            "of models": _budget(found.memory),
            "memory short": found.memory.pressure if found.memory else "",
            "ready": "yes" if found.is_ready else "no",
            "waits for": ", ".join(found.waiting_for),
            "queued": str(found.num_waiting) if found.num_waiting else "",
        }
    )
    if found.frontends:
        click.echo()
        print_table(
            ("FRONTEND", "STATE", "PID", "REQUESTS", "MEMORY", "ADDRESS"),
            [_frontend_row(frontend) for frontend in found.frontends],
            folded="ADDRESS",
        )
        for frontend in found.frontends:
            _print_reason(frontend.name, frontend)
    for outcast in found.outcasts:
        name = clean_line(outcast.name) or "a process that did not say hello"
        pid = f", pid {outcast.pid}" if outcast.pid else ""
        click.echo(f"\n{name}{pid} was cut off {duration(outcast.age_s)} ago: {clean_line(outcast.reason)}")
    if found.workers:
        click.echo()
        _print_workers(found.workers)


def _budget(found: MemoryReport | None) -> str:
    if found is None:
        return ""
    system = "" if found.available_bytes is None else f"; the system has {size(found.available_bytes)} left"
    gpu = "" if found.gpu_free_bytes is None else f"; the GPU has {size(found.gpu_free_bytes)} left"
    return f"{size(found.charged_bytes)} of {size(found.budget_bytes)}{system}{gpu}"


def _print_workers(workers: tuple[WorkerInfo, ...]) -> None:
    print_table(
        ("MODEL", "KIND", "STATE", "PID", "REQUESTS", "WAIT", "MEMORY", "PLANNED", "FOR", "LEAVES"),
        [_worker_row(worker) for worker in workers],
        folded="MODEL",
    )
    for worker in workers:
        _print_reason(worker.model, worker)
        for note in worker.notes:
            click.echo(f"\n{clean_line(worker.model)}: {clean_line(note)}")


def _print_reason(name: str, process: WorkerInfo | FrontendInfo) -> None:
    """Why a process is not there, when it is tried again, and what it said last."""
    name = clean_line(name)
    error = clean_line(process.error).removeprefix(f"{name}: ").rstrip(".")
    parts = [error] if error else []
    # One that waits for its place in memory has the reason in its error.
    if isinstance(process, WorkerInfo) and process.progress and process.state not in ("ready", "waiting"):
        before = [f"before that its process ended: {error}"] if error else []
        parts = [words(process.progress), *before]
    if process.retry_in_s is not None:
        parts.append(_next_try(name, process))
    if parts:
        click.echo(f"\n{name} is {process.state}: {'; '.join(parts)}")
    for line in process.last_words:
        click.echo(f"  | {clean_line(line)}")


def _next_try(name: str, process: WorkerInfo | FrontendInfo) -> str:
    is_model = isinstance(process, WorkerInfo)
    if process.state != "failed":
        at_once = f", at once with `mlxd load {name}`" if is_model else ""
        return f"next try in {duration(process.retry_in_s or 0)}{at_once}"
    after = f" after {duration(process.retry_in_s)}" if process.retry_in_s else ""
    return f"the next request{after} tries again, `mlxd load {name}` at once"


def _worker_row(worker: WorkerInfo) -> tuple[str, ...]:
    running = f"{worker.num_active}/{worker.num_slots}" if worker.num_slots else ""
    queued = f"+{worker.num_queued}" if worker.num_queued else ""
    return (
        worker.model,
        worker.kind,
        worker.state,
        str(worker.pid or "-"),
        " ".join(part for part in (running, queued) if part) or "-",
        duration(worker.oldest_wait_s) if worker.num_queued else "-",
        memory(worker.memory_bytes, worker.gpu_memory_bytes) or "-",
        size(worker.estimate.total_bytes) if worker.estimate else "-",
        duration(worker.uptime_s) if worker.uptime_s else "-",
        _leaves(worker),
    )


def _leaves(worker: WorkerInfo) -> str:
    """When it leaves memory if nobody asks for it."""
    if worker.is_pinned:
        return "pinned"
    if worker.leaves_in_s is not None:
        # Screens are narrow, and names of models long.
        return f"in {duration(worker.leaves_in_s, num_units=1)}"
    is_idle = worker.state == "ready" and not worker.num_active and not worker.num_queued
    return "never" if is_idle else "-"


def _queued_row(request: QueuedRequest) -> tuple[str, ...]:
    return (
        request.model,
        str(request.position),
        next(word for word, priority in PRIORITIES.items() if priority == request.priority),
        duration(request.waited_s),
        request.frontend,
        request.client or "-",
    )


def _frontend_row(frontend: FrontendInfo) -> tuple[str, ...]:
    return (
        frontend.name,
        frontend.state,
        str(frontend.pid or "-"),
        str(frontend.num_requests),
        size(frontend.memory_bytes) if frontend.memory_bytes else "-",
        frontend.address or "-",
    )
