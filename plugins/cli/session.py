"""The way from a command to the kernel: settings, home, event loop, connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from plugins.cli.progress import ProgressView
from plugins.client import KernelClient
from plugins.launch import attach, connected
from plugins.packages import check_packages
from transports import logs
from transports.config import home, resolve
from transports.errors import KernelUnavailable
from transports.reports import Admin, DoneReply

T = TypeVar("T")


# Any: a coroutine's send and yield types, which asyncio.run ignores.
def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; Ctrl-C cancels it, and comes out as KeyboardInterrupt."""
    # A person is told in words; events below that are for the logs of processes that run for months.
    logs.configure("error", "text", "cli")
    return asyncio.run(main)


@asynccontextmanager
async def any_kernel() -> AsyncIterator[KernelClient]:
    """The running kernel, or one of our own for as long as the block lasts."""
    check_packages()
    async with connected(resolve().settings, home(), start_private=True) as client:
        yield client


@asynccontextmanager
async def running_kernel() -> AsyncIterator[KernelClient | None]:
    """The running kernel, or None."""
    # A mistake in the settings is worth a word also where they are not used.
    resolve()
    client = await attach(home())
    try:
        yield client
    finally:
        if client:
            await client.close()


async def load(client: KernelClient, model: str, keep_alive_s: float | None = None) -> None:
    """Have a model in memory, and show how far it is.

    Args:
        client: To the kernel.
        model: Its name.
        keep_alive_s: As `Envelope.keep_alive_s`.

    Raises:
        MlxdError: It cannot be loaded.
    """
    with ProgressView() as view:
        args = Admin(model=model, keep_alive_s=keep_alive_s)
        await client.admin("load", args, DoneReply, lambda progress: view.update(model, progress))


@asynccontextmanager
async def required_kernel() -> AsyncIterator[KernelClient]:
    """The running kernel.

    Raises:
        KernelUnavailable: None runs.
    """
    async with running_kernel() as client:
        if client is None:
            raise KernelUnavailable("no kernel is running; start one with `mlxd serve`")
        yield client
