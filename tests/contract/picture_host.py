"""A host on the loopback that counts who asks it: one that has pictures, or one that nobody may reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

# What it says to a connection, after the head of the request.
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class PictureHost:
    """Its port, what it was asked, and how many connections it has now and had at most."""

    def __init__(self) -> None:
        self.port = 0
        self.heads: list[bytes] = []
        self.num_open = 0
        self.max_open = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/picture.png"


def saying(data: bytes) -> Answer:
    """Sends *data* and closes."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def file(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Answer:
    """A whole answer of HTTP."""
    head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n" % (status, len(body))
    return saying(head + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body)


@asynccontextmanager
async def picture_host(
    answer: Answer, address: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[PictureHost]:
    """A host that serves until the block is left."""
    host = PictureHost()
    tasks: list[asyncio.Task[object]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            tasks.append(task)
        host.num_open += 1
        host.max_open = max(host.max_open, host.num_open)
        try:
            host.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client left, or the test is over.
        finally:
            host.num_open -= 1
            writer.close()

    server = await asyncio.start_server(serve, address, port)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
