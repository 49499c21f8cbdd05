"""Several requests whose answers are read side by side, such as the choices of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from plugins.submission import Submission, Update
from transports.messages import Done

# The place of a request among the others, and what came for it.
Placed = tuple[int, Update]


async def together(
    submissions: Sequence[Submission], silence_s: float | None = None
) -> AsyncIterator[list[Placed]]:
    """Everything that arrives until all have ended, as it comes; an empty list after a silence.

    Args:
        silence_s: Seconds; None waits for ever.

    Raises:
        MlxdError: The bad end of one of them; the others are not waited for.
    """
    arrived = asyncio.Event()
    for submission in submissions:
        submission.listen(arrived.set)
    unfinished = dict(enumerate(submissions))
    while unfinished:
        arrived.clear()
        updates = [(place, one) for place, submission in unfinished.items() for one in submission.ready()]
        if not updates:
            for submission in unfinished.values():
                if submission.has_ended:
                    # It raises.
                    await anext(submission)
            try:
                async with asyncio.timeout(silence_s):
                    await arrived.wait()
            except TimeoutError:
                yield []
            continue
        for place, update in updates:
            if isinstance(update, Done):
                del unfinished[place]
        yield updates
