"""What idle streams cost the HTTP frontend, and requests by the thousand on one connection."""

from __future__ import annotations

import asyncio
import resource
import sys
from contextlib import AsyncExitStack

import psutil
from raw_http import Reply, posted
from support import ECHO, Figure, echo_home, running_kernel, temporary_home

from plugins.client import KernelClient
from transports.settings import HttpSettings, KernelSettings

# Between two tokens; longer than it takes to open all streams on a slow machine.
STEP_S = 20.0
# Opened at a time.
BATCH = 50
KB = 1000
# Once the streams are open: everything that is freed late.
SETTLE_S = 2.0
# On one connection, whose client reads no answer before it has sent all.
NUM_PIPELINED = 10_000
PIPELINED_TIMEOUT_S = 120.0
MB = 1000 * KB


async def _begin(stack: AsyncExitStack, url: str, number: int) -> Reply:
    """A stream whose head has come; its client keeps little itself."""
    body = {
        "model": ECHO,
        "stream": True,
        "messages": [{"role": "user", "content": f"<{number}> and one more"}],
    }
    reply = await stack.enter_async_context(posted(url, "/v1/chat/completions", body))
    await reply.read_head()
    return reply


async def _frontend(client: KernelClient) -> psutil.Process:
    return psutil.Process(next(f.pid for f in (await client.status()).frontends if f.supervised))


async def _pipelined(url: str, frontend: psutil.Process) -> tuple[int, int]:
    """How many of `NUM_PIPELINED` requests were answered, and by how many bytes the frontend grew."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    request = f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()

    async def ask(count: int) -> tuple[int, int]:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request * count)
        await asyncio.sleep(SETTLE_S)
        grown, num_answered = frontend.memory_info().rss, 0
        async with asyncio.timeout(PIPELINED_TIMEOUT_S):
            while num_answered < count:
                await reader.readuntil(b"\r\n\r\n{")
                await reader.readuntil(b"}")
                num_answered += 1
        grown = max(grown, frontend.memory_info().rss)
        writer.close()
        return num_answered, grown

    _, before = await ask(100)
    num_answered, grown = await ask(NUM_PIPELINED)
    return num_answered, grown - before


async def measure(count: int) -> list[Figure]:
    """*count* streams at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # A worker that is so slow on purpose is not hung.
    kernel = KernelSettings(hung_after_s=600, prefill_hung_after_s=600)
    settings = HttpSettings(port=0, sse_keepalive_s=1.0)
    with temporary_home() as folder:
        home = echo_home(folder, num_slots=count, step_s=STEP_S)
        async with (
            running_kernel(home, http=True, kernel=kernel, http_settings=settings) as (_, client, url),
            AsyncExitStack() as stack,
        ):
            frontend = await _frontend(client)
            replies: list[Reply] = []
            # What the first streams bring about once is not theirs.
            for number in range(BATCH):
                replies.append(await _begin(stack, url, number))
            before = frontend.memory_info().rss
            for start in range(BATCH, count, BATCH):
                numbers = range(start, min(start + BATCH, count))
                replies += await asyncio.gather(*[_begin(stack, url, number) for number in numbers])
            await asyncio.sleep(SETTLE_S)
            each = (frontend.memory_info().rss - before) / (count - BATCH)
            num_pipelined, grown_bytes = await _pipelined(url, frontend)
            num_served = sum(await asyncio.gather(*[_is_served(reply, n) for n, reply in enumerate(replies)]))
    return [
        Figure(f"of {count} idle streams, answered in the end", num_served, "streams", (">=", count)),
        Figure("memory of the HTTP frontend for each", each / KB, "kB", ("<=", 30)),
        Figure(
            f"{NUM_PIPELINED} requests at once on one connection: the frontend's memory grows by",
            grown_bytes / MB,
            "MB",
            ("<=", 4),
            f"{num_pipelined} answered in the end",
        ),
    ]


async def _is_served(reply: Reply, number: int) -> bool:
    await reply.read()
    return reply.is_whole and f"<{number}>".encode() in reply.body and reply.body.endswith(b"[DONE]\n\n")


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)):
        print(figure)
