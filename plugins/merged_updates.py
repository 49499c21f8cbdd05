"""The answers of several requests as one stream of updates, such as the choices of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice

from plugins.submission import Submission, Update
from transports.messages import Done

# The place of a request among the others, and what came for it.
Placed = tuple[int, Update]


# More of one request would fill the queue of a model (kernel.max_queued), and whoever else asks.
MAX_AT_ONCE = 32


async def merged_updates(
    submissions: Iterable[Submission], silence_s: float | None = None
) -> AsyncIterator[list[Placed]]:
    """Everything that arrives until all have ended, as it comes; an empty list after a silence.

    Args:
        submissions: At most `MAX_AT_ONCE` are taken; when one has ended, the next.
        silence_s: Seconds; None waits for ever.

    Raises:
        MlxdError: The bad end of one of them; the others are not waited for.
    """
    arrived = asyncio.Event()
    coming = enumerate(submissions)
    running: dict[int, Submission] = {}
    while True:
        for place, submission in islice(coming, MAX_AT_ONCE - len(running)):
            submission.listen(arrived.set)
            running[place] = submission
        if not running:
            return
        arrived.clear()
        updates = [(place, one) for place, submission in running.items() for one in submission.ready()]
        if not updates:
            for submission in running.values():
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
                del running[place]
        yield updates
