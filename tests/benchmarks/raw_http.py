"""A chat over HTTP on a connection whose every byte we see, and which we may break off as we like.

An HTTP library would hide how a body ended, which is what matters here.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

# A close with this sends RST: what is unread is thrown away on both sides.
LINGER_NONE = struct.pack("ii", 1, 0)
MAX_LINE_BYTES = 1 << 20


class Reply:
    """The head of an answer, and its body as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        # Whether the body came to its own end, and the connection did not break before.
        self.is_whole = False

    async def read_head(self) -> None:
        """Wait for the status line and the headers."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        pairs = (line.split(":", 1) for line in head[1:] if line)
        self.headers = {name.lower(): value.strip() for name, value in pairs}

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes; the last piece may be followed by a broken connection."""
        try:
            if "content-length" in self.headers:
                self.body = await self._reader.readexactly(int(self.headers["content-length"]))
                yield self.body
            else:
                while size := int(await self._reader.readline() or b"x", 16):
                    piece = await self._reader.readexactly(size + 2)
                    self.body += piece[:-2]
                    yield piece[:-2]
            self.is_whole = True
        except (ValueError, asyncio.IncompleteReadError, ConnectionError):
            return

    async def read(self) -> None:
        """Read to the end, whatever it is."""
        async for _ in self.pieces():
            pass

    def close(self) -> None:
        """Close the connection in the ordinary way."""
        self._writer.close()

    def reset(self) -> None:
        """Be gone at once, as a client that was killed on another machine."""
        if peer := self._writer.get_extra_info("socket"):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self._writer.transport.abort()


@asynccontextmanager
async def posted(url: str, path: str, body: object, *, receive_buffer: int = 0) -> AsyncIterator[Reply]:
    """POST JSON; the head of the answer is not read yet.

    Raises:
        OSError: Nobody listens, or the connection broke.
    """
    host, port = url.removeprefix("http://").rsplit(":", 1)
    with socket.socket() as plain:
        plain.setblocking(False)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=plain, limit=MAX_LINE_BYTES)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        try:
            yield Reply(reader, writer)
        finally:
            writer.transport.abort()


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The JSON events of an event stream, without its end mark."""
    lines = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines if line.endswith(b"}")]
