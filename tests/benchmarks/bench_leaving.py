"""How soon a slot is free after its client went away, in each phase of a request, and what is computed yet.

Somebody else's request waits for the only slot: the time from the client's leaving to the first word of that
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from raw_http import Reply, posted
from support import ECHO, Figure, chat, echo_home, percentile, running_kernel, temporary_home

from plugins.client import KernelClient, Submission
from transports.messages import Delta
from transports.reports import Admin, DoneReply

STEP_S = 0.01
LOAD_S = 0.2
ENDLESS = " ".join(["word"] * 3000)
# Somebody left in this phase: how long the slot stayed his, seconds.
Phase = Callable[[KernelClient, str], Awaitable[float]]


@contextlib.asynccontextmanager
async def _asking(url: str, *, stream: bool = True) -> AsyncIterator[Reply]:
    body = {"model": ECHO, "stream": stream, "messages": [{"role": "user", "content": ENDLESS}]}
    async with posted(url, "/v1/chat/completions", body) as reply:
        yield reply


async def _until_first_word(submission: Submission) -> None:
    async for update in submission:
        if isinstance(update, Delta):
            return


async def _until_running(client: KernelClient, num_active: int, num_queued: int = 0) -> None:
    while True:
        workers = (await client.status()).workers
        if [(w.num_active, w.num_queued) for w in workers] == [(num_active, num_queued)]:
            return
        await asyncio.sleep(0.005)


async def _freed_s(client: KernelClient, reply: Reply) -> float:
    """Let the client of *reply* go, by FIN or RST; seconds until the next request has the slot."""
    async with client.submit(task="chat", model=ECHO, body=chat("next")) as waiting:
        await _until_running(client, 1, 1)
        left_s = time.perf_counter()
        reply.reset() if random.random() < 0.5 else reply.close()
        await _until_first_word(waiting)
        return time.perf_counter() - left_s


async def while_it_streams(client: KernelClient, url: str) -> float:
    """After some words."""
    async with _asking(url) as reply:
        await reply.read_head()
        pieces = reply.pieces()
        for _ in range(random.randrange(1, 20)):
            await anext(pieces)
        return await _freed_s(client, reply)


async def before_its_head(client: KernelClient, url: str) -> float:
    """The request is sent, and nothing of the answer is read."""
    async with _asking(url) as reply:
        await _until_running(client, 1)
        return await _freed_s(client, reply)


async def while_it_gathers(client: KernelClient, url: str) -> float:
    """An answer that is not streamed."""
    async with _asking(url, stream=False) as reply:
        await _until_running(client, 1)
        await asyncio.sleep(random.uniform(0, 0.2))
        return await _freed_s(client, reply)


async def while_it_waits(client: KernelClient, url: str) -> float:
    """In the queue: it must not get the slot that becomes free."""
    async with client.submit(task="chat", model=ECHO, body=chat(ENDLESS)) as running:
        await _until_first_word(running)
        async with _asking(url) as reply:
            await _until_running(client, 1, 1)
            async with client.submit(task="chat", model=ECHO, body=chat("next")) as waiting:
                await _until_running(client, 1, 2)
                reply.reset()
                await _until_running(client, 1, 1)
                left_s = time.perf_counter()
                running.cancel()
                await _until_first_word(waiting)
                return time.perf_counter() - left_s


async def while_it_loads(client: KernelClient, url: str) -> float:
    """The model is on its way: what the load takes is not counted."""
    await client.admin("unload", Admin(model=ECHO, force=True), DoneReply)
    async with _asking(url) as reply:
        while not (await client.status()).workers:
            await asyncio.sleep(0.005)
        reply.reset()
        await client.admin("load", Admin(model=ECHO), DoneReply)
        left_s = time.perf_counter()
        async with client.submit(task="chat", model=ECHO, body=chat("next")) as waiting:
            await _until_first_word(waiting)
        return time.perf_counter() - left_s


PHASES: tuple[Phase, ...] = (
    while_it_streams,
    before_its_head,
    while_it_gathers,
    while_it_waits,
    while_it_loads,
)


async def measure(count: int) -> list[Figure]:
    """*count* clients leave in each phase."""
    freed_s: dict[str, list[float]] = {}
    with temporary_home() as folder:
        home = echo_home(folder, num_slots=1, step_s=STEP_S, load_s=LOAD_S)
        async with running_kernel(home, http=True) as (_, client, url):
            for phase in PHASES:
                freed_s[phase.__name__.replace("_", " ")] = [await phase(client, url) for _ in range(count)]
    every = [taken_s for phase in freed_s.values() for taken_s in phase]
    slowest = ", ".join(f"{name} {max(taken) * 1e3:.0f} ms" for name, taken in freed_s.items())
    return [
        Figure(
            "slot free after its client went away, p99",
            percentile(every, 99),
            "s",
            ("<=", 1.0),
            f"{len(every)} clients; slowest {slowest}",
        ),
        # The first word of the next request is a step of its own.
        Figure(
            "words computed for a client that had gone away, at most",
            max(0, round(max(every) / STEP_S) - 1),
            "words",
            ("<=", 8),
            f"a word takes {STEP_S * 1e3:.0f} ms",
        ),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 8)):
        print(figure)
