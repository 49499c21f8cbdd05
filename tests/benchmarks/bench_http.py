"""What HTTP adds to the time to the first token: one client, an echo worker, streaming."""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
from support import ECHO, Figure, echo_home, percentile, running_kernel, temporary_home

BODY = {"model": ECHO, "stream": True, "messages": [{"role": "user", "content": "hi"}]}


async def _ttft_s(session: aiohttp.ClientSession, url: str) -> float:
    """From the request to the first event with text; the echo worker needs no time for it."""
    started_s = time.perf_counter()
    first_s = 0.0
    async with session.post(f"{url}/v1/chat/completions", json=BODY) as response:
        async for line in response.content:
            if not first_s and b'"content":"hi"' in line:
                first_s = time.perf_counter() - started_s
    return first_s


async def measure(count: int) -> list[Figure]:
    """*count* requests, one after the other on one connection."""
    with temporary_home() as folder:
        home = echo_home(folder)
        async with running_kernel(home, http=True) as (_, _, url), aiohttp.ClientSession() as session:
            for _ in range(20):
                await _ttft_s(session, url)
            taken_ms = [await _ttft_s(session, url) * 1e3 for _ in range(count)]
    return [
        Figure("added time to first token over HTTP, p50", percentile(taken_ms, 50), "ms", ("<=", 3)),
        Figure("added time to first token over HTTP, p99", percentile(taken_ms, 99), "ms", ("<=", 10)),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)):
        print(figure)
