"""The lines that a child process writes, however long it makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

# Of a longer line the end is kept.
MAX_LINE_BYTES = 64 * 1024


async def output_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Each line without its end, until the pipe is closed; what is no UTF-8 is replaced."""
    rest = b""
    while chunk := await stream.read(MAX_LINE_BYTES):
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield line.decode(errors="replace").rstrip()
        rest = rest[-MAX_LINE_BYTES:]
    if rest:
        yield rest.decode(errors="replace").rstrip()
