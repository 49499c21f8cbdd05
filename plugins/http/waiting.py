"""What comes for a request whose answer is streamed; while nothing does, the client is told why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from plugins.http.events import EventStream
from plugins.merged_updates import Placed, merged_updates
from plugins.submission import Submission, Update
from transports.messages import Prefill, Progress

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
    async for updates in streamed_together([submission], stream, silence_s):
        yield [update for _, update in updates]


async def streamed_together(
    submissions: Iterable[Submission], stream: EventStream, silence_s: float
) -> AsyncIterator[list[Placed]]:
    """As `streamed_updates`, of several answers; the last one of each is Done."""
    why = KEEP_ALIVE
    async for updates in merged_updates(submissions, silence_s):
        new: list[Placed] = []
        for place, update in updates:
            if isinstance(update, (Progress, Prefill)):
                why = comment(update)
            else:
                why = KEEP_ALIVE
                new.append((place, update))
        if new:
            yield new
        # What came may be nothing to tell yet: progress, or a call that is not whole.
        await stream.fill(why, silence_s)


def comment(update: Progress | Prefill) -> bytes:
    """Why it is silent, as a comment that clients skip."""
    if isinstance(update, Prefill):
        return f": waiting for prefill {update.num_done}/{update.num_total} tokens\n\n".encode()
    percent = "" if update.fraction is None else f" {update.fraction:.0%}"
    position = f", position {update.position}" if update.position else ""
    return f": waiting for {update.phase}{percent}{position}\n\n".encode()
