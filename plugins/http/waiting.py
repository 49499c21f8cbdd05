"""What comes for a request whose answer is streamed; while nothing does, the client is told why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from plugins.http.events import EventStream
from plugins.submission import Submission, Update
from transports.messages import Done, Prefill, Progress

KEEP_ALIVE = b": keep-alive\n\n"


async def streamed_updates(
    submission: Submission, stream: EventStream, silence_s: float
) -> AsyncIterator[list[Update]]:
    """What is new of an answer, as it comes; the last one of all is Done.

    Args:
        submission: Of the request.
        stream: Gets a comment after each silence.
        silence_s: How long that is, seconds.
    """
    comment = KEEP_ALIVE
    while True:
        updates = await _next_updates(submission, silence_s)
        if not updates:
            await stream.send(comment)
        new: list[Update] = []
        for update in updates:
            if isinstance(update, (Progress, Prefill)):
                comment = _comment(update)
            else:
                comment = KEEP_ALIVE
                new.append(update)
        if new:
            yield new
            if isinstance(new[-1], Done):
                return


async def _next_updates(submission: Submission, silence_s: float) -> list[Update]:
    """All updates that are there, after waiting for one; none after a silence of *silence_s* seconds."""
    try:
        async with asyncio.timeout(silence_s):
            first = await anext(submission)
    except TimeoutError:
        return []
    return [first, *submission.ready()]


def _comment(update: Progress | Prefill) -> bytes:
    """Why it is silent, as a comment that clients skip."""
    if isinstance(update, Prefill):
        return f": waiting for prefill {update.num_done}/{update.num_total} tokens\n\n".encode()
    percent = "" if update.fraction is None else f" {update.fraction:.0%}"
    position = f", position {update.position}" if update.position else ""
    return f": waiting for {update.phase}{percent}{position}\n\n".encode()
