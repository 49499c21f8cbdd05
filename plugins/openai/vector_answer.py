"""Waits for the numbers of an embeddings or a rerank, and writes them beside what else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from plugins.submission import Submission, not_cancelled
from plugins.vectors import NumberRows
from transports.errors import RemoteProtocolError
from transports.messages import Done, Usage
from transports.vectors import EmbeddingsRequest, RerankRequest

# Written in a thread, as other answers go on meanwhile: so many bytes of numbers take some 10 ms.
MAX_INLINE_BYTES = 32 * 1024


async def read_rows(
    submission: Submission, request: EmbeddingsRequest | RerankRequest
) -> tuple[NumberRows, Done]:
    """Wait for the whole answer to *request*; leaving early cancels it.

    Raises:
        MlxdError: Its bad end; a cancel by somebody else than the client is one.
    """
    rows: NumberRows | None = None
    end: Done | None = None
    async with submission:
        async for update in submission:
            match update:
                case NumberRows():
                    rows = update
                case Done():
                    end = not_cancelled(update)
                case _:
                    pass
    num_wanted = len(request.input) if isinstance(request, EmbeddingsRequest) else len(request.documents)
    if rows is None or end is None or len(rows) != num_wanted:
        raise RemoteProtocolError(
            f"the worker gave {len(rows or ())} rows of numbers for {num_wanted} inputs"
        )
    return rows, end


async def written(write: Callable[[NumberRows, Usage], bytes], rows: NumberRows, usage: Usage) -> bytes:
    """What *write* makes of the numbers, in a thread when they are many."""
    if len(rows.values) <= MAX_INLINE_BYTES:
        return write(rows, usage)
    return await asyncio.to_thread(write, rows, usage)
