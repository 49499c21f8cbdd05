"""Reaching a kernel: attach to the running one, or start one and end it again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from plugins.client import KernelClient
from transports import rundir
from transports.child_output import output_lines
from transports.errors import Forbidden, KernelUnavailable, MlxdError
from transports.settings import Settings

# From the start of a kernel to its first line.
START_TIMEOUT_S = 20.0
# Kept of the kernel's log to tell why it ended.
NUM_LAST_WORDS = 20
# Between two looks whether a kernel that starts can be reached.
LOOK_S = 0.05
# A kernel that does not say in time whether it serves others is ended.
STATUS_TIMEOUT_S = 1.0


class KernelProcess:
    """A kernel that we started and that ends with us: we hold its stdin."""

    def __init__(self, process: asyncio.subprocess.Process, connection: rundir.Connection) -> None:
        self._process = process
        self.connection = connection
        self.pid = process.pid

    @classmethod
    async def start(
        cls,
        settings: Settings,
        home: Path,
        *,
        preload: tuple[str, ...] = (),
        on_log: Callable[[str], None] = lambda _: None,
    ) -> KernelProcess:
        """Start a kernel and wait until it can be reached.

        Args:
            settings: All settings.
            home: MLXD_HOME.
            preload: Models that must be loaded before it is ready.
            on_log: Called with each line of its log.

        Raises:
            KernelUnavailable: It ended at once; the message is its own.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "kernel"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A terminal's Ctrl-C is for us; we tell the kernel.
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("asyncio gave a child without the pipes that we asked for")
        bootstrap = {"home": str(home), "settings": settings, "preload": preload}
        process.stdin.write(msgspec.json.encode(bootstrap) + b"\n")
        last_words: deque[str] = deque(maxlen=NUM_LAST_WORDS)
        log = asyncio.create_task(_read_log(process.stderr, last_words, on_log))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            process.kill()
            raise KernelUnavailable(f"the kernel did not start within {START_TIMEOUT_S:g} s") from None
        except asyncio.CancelledError:
            process.kill()
            raise
        if not line:
            await process.wait()
            await log
            last = last_words[-1] if last_words else f"exit code {process.returncode}"
            raise KernelUnavailable(last.removeprefix("mlxd: "))
        kernel = cls(process, msgspec.json.decode(line, type=rundir.Connection))
        kernel._log = log
        return kernel

    # Reads the kernel's log as long as it lives.
    _log: asyncio.Task[None]

    def drain(self) -> None:
        """Ask it to finish what runs and end."""
        # Not by `send_signal`, which would reap a kernel that has just ended, and lose its exit code.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """End it now: what runs fails."""
        if self._process.stdin:
            self._process.stdin.close()

    async def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        code = await self._process.wait()
        await self._log
        return code


async def attach(home: Path, kind: str = "cli") -> KernelClient | None:
    """A connection to the kernel that runs for *home*; None if none does."""
    while connection := rundir.read_connection(home):
        try:
            return await KernelClient.connect(connection.endpoint, connection.token, kind=kind)
        except KernelUnavailable:
            return None
        except Forbidden:
            # Another kernel has taken the place of that one between our reading and our hello.
            if rundir.read_connection(home) == connection:
                raise
    return None


@contextlib.asynccontextmanager
async def connected(
    settings: Settings, home: Path, *, start_private: bool, kind: str = "cli"
) -> AsyncIterator[KernelClient]:
    """A connection to the running kernel, or to one without frontends that lives as long as the block.

    Raises:
        KernelUnavailable: None runs and none may be started, or it does not start.
    """
    client, kernel = await _attached_or_started(settings, home, kind, start_private=start_private)
    try:
        yield client
    finally:
        if kernel and await _serves_others(client):
            kernel.drain()
        elif kernel:
            # Nothing of ours runs any more: there is nothing to drain.
            kernel.end()
        await client.close()
        if kernel:
            await kernel.wait()


async def _attached_or_started(
    settings: Settings, home: Path, kind: str, *, start_private: bool
) -> tuple[KernelClient, KernelProcess | None]:
    """A connection to a kernel, and that kernel if it is ours."""
    if client := await attach(home, kind):
        return client, None
    if not start_private:
        raise KernelUnavailable("no kernel is running; start one with `mlxd serve`")
    alone = msgspec.structs.replace(settings, kernel=msgspec.structs.replace(settings.kernel, frontends=()))
    try:
        kernel = await KernelProcess.start(alone, home)
    except KernelUnavailable:
        # Another one was faster, and can be reached in a moment.
        if client := await _attach_when_started(home, kind):
            return client, None
        raise
    connection = kernel.connection
    return await KernelClient.connect(connection.endpoint, connection.token, kind=kind), kernel


async def _attach_when_started(home: Path, kind: str) -> KernelClient | None:
    """A connection to the kernel that starts for *home*; None if none does, or takes too long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S):
            while rundir.is_taken(home):
                if client := await attach(home, kind):
                    return client
                await asyncio.sleep(LOOK_S)
    return None


async def _serves_others(client: KernelClient) -> bool:
    """Whether another command has taken our kernel for its requests; ours have ended, or will at once."""
    try:
        async with asyncio.timeout(STATUS_TIMEOUT_S):
            frontends = (await client.status()).frontends
    except (MlxdError, TimeoutError):
        return False
    return any(frontend.num_requests for frontend in frontends)


async def _read_log(
    stream: asyncio.StreamReader, last_words: deque[str], on_log: Callable[[str], None]
) -> None:
    async for line in output_lines(stream):
        last_words.append(line)
        on_log(line)
