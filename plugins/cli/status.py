"""`mlxd ps` and `mlxd status`: what runs."""

from __future__ import annotations

from collections.abc import Iterable

import click

from plugins.cli import session
from plugins.cli.exits import NOT_RUNNING
from plugins.cli.output import duration, print_fields, print_json, print_table, size
from plugins.cli.sanitize import clean_line
from transports.reports import FrontendInfo, StatusReply, WorkerInfo

NO_KERNEL = "No kernel is running; `mlxd serve` starts one."


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of workers.")
def ps(as_json: bool) -> None:
    """List the workers: one process for each model in memory.

    Without a running kernel there are none, and that is no error.
    """
    found = session.run(_fetch())
    workers = found.workers if found else ()
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
    """Show what the running kernel does and what it waits for.

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


async def _fetch() -> StatusReply | None:
    async with session.running_kernel() as client:
        return await client.status() if client else None


def _print_status(found: StatusReply) -> None:
    print_fields(
        {
            "kernel": f"mlxd {found.version}, pid {found.pid}, {found.state} for {duration(found.uptime_s)}",
            "home": found.home,
            "memory": size(found.memory_bytes),
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
        _print_remarks([(frontend.name, frontend.error) for frontend in found.frontends])
    if found.workers:
        click.echo()
        _print_workers(found.workers)


def _print_workers(workers: tuple[WorkerInfo, ...]) -> None:
    print_table(
        ("MODEL", "KIND", "STATE", "PID", "REQUESTS", "MEMORY", "UP"),
        [_worker_row(worker) for worker in workers],
        folded="MODEL",
    )
    _print_remarks([(worker.model, worker.error) for worker in workers])
    _print_remarks([(worker.model, note) for worker in workers for note in worker.notes])


def _print_remarks(remarks: Iterable[tuple[str, str]]) -> None:
    for name, remark in remarks:
        if remark:
            click.echo(f"\n{clean_line(name)}: {clean_line(remark)}")


def _worker_row(worker: WorkerInfo) -> tuple[str, ...]:
    queued = f" +{worker.num_queued}" if worker.num_queued else ""
    return (
        worker.model,
        worker.kind,
        worker.state,
        str(worker.pid or "-"),
        f"{worker.num_active}/{worker.num_slots}{queued}" if worker.num_slots else "-",
        size(worker.memory_bytes) if worker.memory_bytes else "-",
        duration(worker.uptime_s) if worker.pid else "-",
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
