"""How fast a client hears of a worker that was killed, with eight streams open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

import aiohttp
from support import ECHO, Figure, echo_home, percentile, running_kernel, temporary_home

NUM_STREAMS = 8


async def _until_error_s(session: aiohttp.ClientSession, url: str, started: asyncio.Semaphore) -> float:
    """Monotonic seconds at which the error event came; the stream must not look complete."""
    body = {"model": ECHO, "stream": True, "messages": [{"role": "user", "content": "ENDLESS"}]}
    failed_s = 0.0
    with contextlib.suppress(aiohttp.ClientPayloadError):
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            async for line in response.content:
                if b"ENDLESS" in line:
                    started.release()
                if b'"error"' in line:
                    failed_s = time.perf_counter()
                assert b"[DONE]" not in line
    assert failed_s, "the stream ended without an error event"
    return failed_s


async def measure(count: int) -> list[Figure]:
    """*count* kills."""
    taken_ms = []
    with temporary_home() as folder:
        home = echo_home(folder, faults=True, step_s=0.01)
        async with running_kernel(home, http=True) as (_, client, url), aiohttp.ClientSession() as session:
            for _ in range(count):
                started = asyncio.Semaphore(0)
                streams = [
                    asyncio.create_task(_until_error_s(session, url, started)) for _ in range(NUM_STREAMS)
                ]
                for _ in range(NUM_STREAMS):
                    await started.acquire()
                worker = (await client.status()).workers[0]
                killed_s = time.perf_counter()
                os.kill(worker.pid, signal.SIGKILL)
                taken_ms += [(failed_s - killed_s) * 1e3 for failed_s in await asyncio.gather(*streams)]
                # A crash a second is what the back-off lets through.
                await asyncio.sleep(1)
    return [
        Figure(
            f"kill -9 of a worker with {NUM_STREAMS} streams -> error event at the client, p99",
            percentile(taken_ms, 99),
            "ms",
            ("<=", 250),
            f"median {percentile(taken_ms, 50):.1f} ms, {count} kills",
        )
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)):
        print(figure)
