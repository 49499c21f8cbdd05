"""The connection to the kernel, made beside the conversation and made again when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from transports.errors import ShuttingDown
from transports.settings import LogSettings, Settings

if TYPE_CHECKING:
    from plugins.client import KernelClient

# For the answer that is on its way out: imports beside it would take the interpreter from it.
FIRST_ANSWER_S = 0.005


class KernelLink:
    """Attaches to the running kernel, or starts one that lives as long as this. Belongs to the event loop."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self._settings = settings
        self._home = home
        self._holder: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[KernelClient] | None = None
        self._closing = asyncio.Event()

    def start(self) -> asyncio.Future[KernelClient]:
        """Begin to connect, unless that was begun."""
        if self._ready is None or self._holder is None or self._holder.done():
            self._ready = asyncio.get_running_loop().create_future()
            # Who only starts does not look.
            self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
            self._holder = asyncio.create_task(self._hold(self._ready))
        return self._ready

    async def client(self) -> KernelClient:
        """The connection, once it stands.

        Raises:
            KernelUnavailable: There is no kernel, and none can be started.
            ShuttingDown: The kernel is ending.
        """
        while True:
            # Others wait for it too.
            client = await asyncio.shield(self.start())
            if not client.lost.is_set():
                break
            if self._holder:
                await asyncio.wait([self._holder])
        if client.stopping.is_set():
            raise ShuttingDown("mlxd is ending and takes no new requests")
        return client

    async def close(self) -> None:
        """Disconnect; a kernel of ours ends."""
        self._closing.set()
        if self._holder is None or self._ready is None:
            return
        if not self._ready.done():
            self._holder.cancel()
        await asyncio.wait([self._holder])

    async def _hold(self, ready: asyncio.Future[KernelClient]) -> None:
        """Be connected until the kernel is lost, or until `close`."""
        try:
            await asyncio.sleep(FIRST_ANSWER_S)
            connected = await asyncio.to_thread(_import_launch, self._settings.log)
            async with connected(self._settings, self._home, start_private=True, kind="stdio") as client:
                ready.set_result(client)
                await _any_of(client.lost, self._closing)
        except Exception as e:
            if ready.done():
                raise
            ready.set_exception(e)
        finally:
            ready.cancel()


def _import_launch(log: LogSettings) -> Callable[..., AbstractAsyncContextManager[KernelClient]]:
    """Imported beside the first answer: these take as long as all that is needed for it."""
    from plugins import launch, packages  # noqa: PLC0415
    from transports import logs  # noqa: PLC0415

    packages.check_packages()
    logs.configure(log.level, log.format, "stdio")
    return launch.connected


async def _any_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
