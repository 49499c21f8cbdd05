"""Stdin and stdout as the event loop sees them. Reading and writing are threads: any descriptor will do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from functools import partial

from plugins.stdio.framing import Framing, framed
from transports.errors import SlowReader

READ_BYTES = 64 * 1024
# Read and not yet taken by the loop.
MAX_UNTAKEN_CHUNKS = 4
# Written in one go while more waits.
WRITE_BYTES = 64 * 1024
# Besides the pipe's own 64 KiB: more, and requests are not read and streams wait.
MAX_UNREAD_BYTES = 256 * 1024


def claim_stdout() -> int:
    """Keep stdout for the protocol: whatever else prints, also in a child, goes to stderr from here on.

    Returns:
        A descriptor that only we know.
    """
    for fd in (0, 1, 2):
        # One that was closed would be the next file's that is opened.
        with contextlib.suppress(OSError):
            os.fstat(fd)
            continue
        os.open(os.devnull, os.O_RDWR)
    private = os.dup(1)
    os.dup2(2, 1)
    return private


class Input:
    """What comes on a descriptor, chunk by chunk; b"" is its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._places = threading.Semaphore(MAX_UNTAKEN_CHUNKS)
        # A daemon: nothing wakes it when the process ends.
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    async def chunk(self) -> bytes:
        """The next bytes, as soon as there are any."""
        chunk = await self._chunks.get()
        self._places.release()
        return chunk

    def _read(self) -> None:
        while True:
            self._places.acquire()
            try:
                chunk = os.read(self._fd, READ_BYTES)
            except OSError:
                # A terminal that is gone, for one.
                chunk = b""
            # The loop may have ended just now.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            if not chunk:
                return


class Output:
    """The only one that writes to a descriptor; whole messages, in order, each at once.

    Args:
        fd: Where to.
        on_broken: Called once when nobody can read any more.
    """

    def __init__(self, fd: int, on_broken: Callable[[], None]) -> None:
        # Of the messages; the editor speaks first, and says by that how.
        self.framing = Framing.NEWLINE
        self._fd = fd
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._unread_bytes = 0
        self._is_broken = False
        # Somebody waits for bytes to be taken.
        self._taken = asyncio.Event()
        threading.Thread(target=self._write, name="stdout", daemon=True).start()

    def send(self, message: bytes) -> None:
        """Write a message without waiting."""
        if self._is_broken:
            return
        content = framed(message, self.framing)
        self._unread_bytes += len(content)
        self._messages.put(content)

    async def room(self, stall_timeout_s: float | None = None) -> None:
        """Wait while much is unread.

        Raises:
            SlowReader: Nothing was taken for *stall_timeout_s*.
        """
        while self._unread_bytes > MAX_UNREAD_BYTES:
            self._taken.clear()
            try:
                async with asyncio.timeout(stall_timeout_s):
                    await self._taken.wait()
            except TimeoutError:
                raise SlowReader(f"nothing was read from stdout for {stall_timeout_s} s") from None

    async def flushed(self) -> None:
        """Wait until all is written, or cannot be."""
        while self._unread_bytes:
            self._taken.clear()
            await self._taken.wait()

    def _on_written(self, num_bytes: int) -> None:
        self._unread_bytes -= num_bytes
        self._taken.set()

    def _on_error(self) -> None:
        self._is_broken = True
        self._unread_bytes = 0
        self._taken.set()
        self._on_broken()

    # --- the thread -----------------------------------------------------------------------

    def _write(self) -> None:
        while True:
            content = self._messages.get()
            with contextlib.suppress(queue.Empty):
                while len(content) < WRITE_BYTES:
                    content += self._messages.get_nowait()
            rest = memoryview(content)
            while rest:
                try:
                    num_bytes = os.write(self._fd, rest[:WRITE_BYTES])
                except OSError:
                    self._tell(self._on_error)
                    return
                self._tell(partial(self._on_written, num_bytes))
                rest = rest[num_bytes:]

    def _tell(self, what: Callable[[], None]) -> None:
        # The loop may have ended just now.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)
