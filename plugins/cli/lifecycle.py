"""`mlxd load`, `unload`, `pin`, `unpin` and `stop`: change what runs and what stays."""

from __future__ import annotations

import asyncio
import os

import click

from plugins.cli import session
from plugins.cli.completion import complete_model
from plugins.cli.keep_alive import keep_alive_flag
from plugins.cli.sanitize import clean_line
from plugins.cli.status import NO_KERNEL
from plugins.client import KernelClient
from transports.errors import MlxdError
from transports.reports import Admin, DoneReply

# How often we look whether the kernel is gone, seconds; it is no child of ours.
POLL_S = 0.05


@click.command()
@click.argument("model", shell_complete=complete_model)
@keep_alive_flag
def load(model: str, keep_alive: float | None) -> None:
    """Load MODEL into memory, and wait until it answers."""
    session.run(_load(model, keep_alive))
    click.echo(f"{clean_line(model)} is loaded.", err=True)


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.option("--force", is_flag=True, help="Also while it answers requests: they fail.")
def unload(model: str, force: bool) -> None:
    """End the worker of MODEL, and with it free all its memory."""
    session.run(_unload(model, force=force))
    click.echo(f"{clean_line(model)} is unloaded.", err=True)


@click.command()
@click.argument("model", shell_complete=complete_model)
def pin(model: str) -> None:
    """Keep MODEL in memory: it makes no room for others, and does not leave when it is idle.

    Does not load it. Until the kernel ends; for longer say `pinned` in the settings.
    """
    done = session.run(_do("pin", model))
    click.echo(f"{clean_line(model)} is {done.detail}.", err=True)


@click.command()
@click.argument("model", shell_complete=complete_model)
def unpin(model: str) -> None:
    """Let MODEL leave memory again, when it is idle or another one needs its place."""
    session.run(_do("unpin", model))
    click.echo(f"{clean_line(model)} is unpinned.", err=True)


@click.command()
@click.option("--now", is_flag=True, help="Do not finish running requests first.")
def stop(now: bool) -> None:
    """End the running kernel, and wait until it is gone.

    Running requests finish first, for at most kernel.drain_timeout_s.
    """
    was_running = session.run(_stop(now=now))
    click.echo("Stopped." if was_running else NO_KERNEL, err=True)


async def _load(model: str, keep_alive_s: float | None) -> None:
    async with session.required_kernel() as client:
        await session.load(client, model, keep_alive_s)


async def _do(operation: str, model: str) -> DoneReply:
    async with session.required_kernel() as client:
        return await client.admin(operation, Admin(model=model), DoneReply)


async def _unload(model: str, *, force: bool) -> None:
    async with session.required_kernel() as client:
        await client.admin("unload", Admin(model=model, force=force), DoneReply)


async def _stop(*, now: bool) -> bool:
    async with session.running_kernel() as client:
        if client is None:
            return False
        await stop_and_wait(client, now=now)
        return True


async def stop_and_wait(client: KernelClient, *, now: bool) -> None:
    """Ask the kernel to end, and wait until its process is gone."""
    pid = (await client.status()).pid
    try:
        await client.admin("stop", Admin(force=now), DoneReply)
    except MlxdError:
        # It may be gone before its reply is here.
        if not client.lost.is_set():
            raise
    while _is_alive(pid):  # noqa: ASYNC110 -- the end of a process that is no child is no event.
        await asyncio.sleep(POLL_S)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
