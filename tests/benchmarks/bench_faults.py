"""What clients see of killed workers: eight streams of the echo worker, four of a real model."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from raw_http import Reply, posted
from support import (
    ECHO,
    REAL,
    Figure,
    echo_home,
    percentile,
    real_home,
    running_kernel,
    temporary_home,
)

from plugins.client import KernelClient
from transports.settings import KernelSettings

# A worker that is killed each second is started again each time, at once.
RESTLESS = KernelSettings(max_crashes=10**6, restart_first_delay_s=0.001, restart_max_delay_s=0.001)
NUM_ECHO_STREAMS = 8
NUM_REAL_STREAMS = 4
# A real model takes seconds to load again.
MAX_REAL_KILLS = 5
# More than is said before the kill; an echo says no more than it was told.
NUM_WORDS = 2000


@dataclass
class Seen:
    """By the clients of all kills."""

    # From each kill to the error event of each stream.
    errors_ms: list[float] = field(default_factory=list)
    # Streams that looked whole, or ended without an error event.
    num_silent: int = 0


async def _stream(url: str, model: str, number: int, begun: asyncio.Semaphore) -> tuple[Reply, float]:
    """Read a stream to its end; the time, monotonic seconds, of its error event (0: none came)."""
    # No two prompts are the same: a request that was there twice when a worker died is suspected.
    text = f"{number} " * (NUM_WORDS if model == ECHO else 1)
    body = {"model": model, "stream": True, "prompt": text, "ignore_eos": True, "max_tokens": NUM_WORDS}
    failed_s, has_text = 0.0, False
    async with posted(url, "/v1/completions", body) as reply:
        await reply.read_head()
        async for piece in reply.pieces():
            if not has_text and b'"text":"' in piece:
                has_text = True
                begun.release()
            if b'"error":{' in piece:
                failed_s = time.perf_counter()
    return reply, failed_s


async def _kill(client: KernelClient, url: str, model: str, first: int, num_streams: int, seen: Seen) -> None:
    """Begin streams, kill their worker, and look at how they end."""
    begun = asyncio.Semaphore(0)
    numbers = range(first, first + num_streams)
    streams = [asyncio.create_task(_stream(url, model, number, begun)) for number in numbers]
    for _ in streams:
        await begun.acquire()
    (worker,) = (await client.status()).workers
    killed_s = time.perf_counter()
    os.kill(worker.pid, signal.SIGKILL)
    for reply, failed_s in await asyncio.gather(*streams):
        if not failed_s or reply.is_whole or b"[DONE]" in reply.body:
            seen.num_silent += 1
        else:
            seen.errors_ms.append((failed_s - killed_s) * 1e3)


async def _kills(home: Path, model: str, num_streams: int, num_kills: int) -> Seen:
    seen = Seen()
    async with running_kernel(home, http=True, model=model, kernel=RESTLESS) as (_, client, url):
        for number in range(num_kills):
            await _kill(client, url, model, number * num_streams, num_streams, seen)
    return seen


async def measure(count: int) -> list[Figure]:
    """*count* kills of the echo worker, fewer of a real one."""
    with temporary_home() as folder:
        echo = await _kills(echo_home(folder, step_s=0.01), ECHO, NUM_ECHO_STREAMS, count)
    num_real = min(count, MAX_REAL_KILLS)
    real = await _kills(real_home(), REAL, NUM_REAL_STREAMS, num_real)
    return [
        *_figures(f"{count} kill -9 of a worker with {NUM_ECHO_STREAMS} streams", echo, 99),
        *_figures(f"{num_real} kill -9 of {REAL} with {NUM_REAL_STREAMS} streams", real, 99),
    ]


def _figures(killed: str, seen: Seen, percent: int) -> list[Figure]:
    detail = f"median {percentile(seen.errors_ms, 50):.1f} ms, slowest {max(seen.errors_ms):.1f} ms"
    return [
        Figure(f"{killed}: silent truncations", seen.num_silent, "streams", ("<=", 0)),
        Figure(
            f"{killed}: error event at the client, p{percent}",
            percentile(seen.errors_ms, percent),
            "ms",
            ("<=", 250),
            detail,
        ),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)):
        print(figure)
