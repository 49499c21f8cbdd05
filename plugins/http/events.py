"""A server-sent event stream that ends well, or is broken off so that nobody takes it for whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.http import StreamWriter

from plugins.openai.errors import error_body
from transports.errors import MlxdError, SlowReader

# What a client has not taken yet, besides the socket's own buffer.
MAX_UNSENT_BYTES = 256 * 1024
# Written in one go: what the socket does not take is copied.
WRITE_BYTES = 1024 * 1024
DONE = b"data: [DONE]\n\n"


def event(content: bytes) -> bytes:
    """A JSON text as an event; nothing for nothing."""
    return b"data: %b\n\n" % content if content else b""


def error_event(error: MlxdError) -> bytes:
    """How a stream of /v1/chat/completions says that it failed."""
    return event(error_body(error))


class EventStream:
    """Writes events. Nothing is sent, not even the status, before the first one.

    Args:
        request: The request that is answered.
        headers: Further headers of the answer.
        write_timeout_s: A client that took nothing for so long is gone.
        failure: What is written last when the answer fails.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        headers: dict[str, str],
        write_timeout_s: float,
        failure: Callable[[MlxdError], bytes] = error_event,
    ) -> None:
        self._request = request
        self._unsent = Unsent(write_timeout_s)
        self._write_timeout_s = write_timeout_s
        self._failure = failure
        # When something was last written.
        self._written_at = asyncio.get_running_loop().time()
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                # nginx would gather the events.
                "X-Accel-Buffering": "no",
                **headers,
            }
        )

    @property
    def is_started(self) -> bool:
        """Whether the status line is on its way."""
        return self.response.prepared

    async def send(self, data: bytes) -> None:
        """Write events without waiting for the client to take them.

        Raises:
            SlowReader: The client leaves too much unread, or all of it for too long.
            ConnectionError: The client is gone.
        """
        if not self.response.prepared:
            await self.response.prepare(self._request)
        transport = self._transport()
        now = asyncio.get_running_loop().time()
        self._unsent.before_write(transport.get_write_buffer_size(), now)
        # Draining would stop us from reading the kernel's messages.
        writer = cast(StreamWriter, self._request.writer)
        await writer.write(data[:WRITE_BYTES], drain=False)
        for begin in range(WRITE_BYTES, len(data), WRITE_BYTES):
            await asyncio.sleep(0)
            await writer.write(data[begin : begin + WRITE_BYTES], drain=False)
        self._unsent.after_write(transport.get_write_buffer_size())
        if data:
            self._written_at = now

    async def fill(self, comment: bytes, silence_s: float) -> None:
        """Write *comment* if nothing was written for *silence_s* seconds.

        Raises:
            SlowReader: See `send`.
            ConnectionError: The client is gone.
        """
        if asyncio.get_running_loop().time() - self._written_at >= silence_s:
            await self.send(comment)

    async def abort(self, error: MlxdError) -> None:
        """Say what went wrong and break off.

        The body has no end mark: the OpenAI SDK takes a closed stream for a success otherwise.
        """
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        if isinstance(error, SlowReader):
            # It does not read: an event would only wait.
            transport.abort()
            return
        await cast(StreamWriter, self._request.writer).write(self._failure(error), drain=False)
        # Sends what is buffered, then ends the connection.
        transport.close()
        asyncio.get_running_loop().call_later(self._write_timeout_s, transport.abort)

    def _transport(self) -> asyncio.Transport:
        if self._request.transport is None:
            raise ConnectionResetError("the client is gone")
        return self._request.transport


class Unsent:
    """Decides when a client reads too slowly, from the size of its buffer and the time."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._size = 0
        # Since when the client has taken nothing; None while its buffer is empty.
        self._stuck_since: float | None = None

    def before_write(self, size: int, now: float) -> None:
        """Look at the buffer.

        Args:
            size: Bytes in the buffer now.
            now: Monotonic time, seconds.

        Raises:
            SlowReader: Over a limit.
        """
        if size == 0:
            self._stuck_since = None
        elif self._stuck_since is None or size < self._size:
            self._stuck_since = now
        elif now - self._stuck_since > self._timeout_s:
            raise SlowReader(f"the client took nothing for {self._timeout_s:g} s")
        if size > MAX_UNSENT_BYTES:
            raise SlowReader(f"the client left more than {MAX_UNSENT_BYTES} bytes unread")

    def after_write(self, size: int) -> None:
        """Remember the buffer's size, bytes."""
        self._size = size
