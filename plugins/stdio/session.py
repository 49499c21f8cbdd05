"""`mlxd stdio` from its first byte to its end: pipes, connection, personality, kernel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from msgspec import Raw

from plugins.stdio.connection import Connection
from plugins.stdio.framing import Piece, Splitter, TooLarge, Unreadable
from plugins.stdio.jsonrpc import INVALID_REQUEST, PARSE_ERROR, RpcError
from plugins.stdio.kernel_link import KernelLink
from plugins.stdio.personality import Personality, load, recognized
from plugins.stdio.pipes import Input, Output
from transports.settings import Settings

# What ends within this after the end of stdin is still answered; all is over a second after it.
GRACE_S = 0.4
# For the last answers to be taken.
FLUSH_TIMEOUT_S = 0.3
# How often we look whether our parent lives: a stdin that somebody else holds open does not tell.
PARENT_PERIOD_S = 0.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The code of a process whose output nobody reads, as of other commands.
FAILED = 1


class Session:
    """One conversation with an editor.

    Args:
        settings: All settings.
        home: MLXD_HOME.
        personality: Its name; "" takes that of the first message.
    """

    def __init__(self, settings: Settings, home: Path, personality: str = "") -> None:
        self._settings = settings
        self._personality = personality
        self._splitter = Splitter(settings.stdio.max_message_bytes)
        self._link = KernelLink(settings, home)

    async def run(self, in_fd: int, out_fd: int) -> int:
        """Serve until the editor ends it or is gone; the exit code."""
        loop = asyncio.get_running_loop()
        # Ends that come from outside: a signal, or nobody who reads.
        interrupted: asyncio.Future[int] = loop.create_future()

        def interrupt(exit_code: int) -> None:
            if not interrupted.done():
                interrupted.set_result(exit_code)

        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, interrupt, 0)
        output = Output(out_fd, lambda: interrupt(FAILED))
        connection = Connection(output, self._choose, self._settings.stdio)
        reader = asyncio.ensure_future(self._read(Input(in_fd), output, connection))
        parent = asyncio.ensure_future(_parent_gone())
        ends = [reader, parent, connection.ended, interrupted]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        reader.cancel()
        parent.cancel()
        await connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await output.flushed()
        await self._link.close()
        # More than one, if nobody could read the last answers.
        return max(end.result() for end in ends if end.done() and not end.cancelled())

    async def _read(self, source: Input, output: Output, connection: Connection) -> int:
        """Read to the end of stdin; the exit code."""
        while chunk := await source.chunk():
            pieces = self._splitter.feed(chunk)
            output.framing = self._splitter.framing or output.framing
            if not _take(pieces, connection):
                return FAILED
            # Who does not read the answers may not ask for more.
            await output.room()
        _take(self._splitter.end(), connection)
        await connection.settle(GRACE_S)
        return connection.personality.exit_code if connection.personality else 0

    def _choose(self, connection: Connection, method: str, params: Raw) -> Personality:
        name = self._personality or recognized(method, params)
        return load(name)(connection, self._link, self._settings)


def _take(pieces: Sequence[Piece], connection: Connection) -> bool:
    """Hand on what was read; False if nothing can be read after it."""
    for piece in pieces:
        match piece:
            case bytes():
                connection.receive(piece)
            case TooLarge():
                connection.refuse(RpcError(INVALID_REQUEST, piece.reason))
            case Unreadable():
                connection.refuse(RpcError(PARSE_ERROR, piece.reason))
                return False
    return True


async def _parent_gone() -> int:
    """Wait until our parent has ended; the exit code."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110  # No event tells of it on all systems.
        await asyncio.sleep(PARENT_PERIOD_S)
    return FAILED
