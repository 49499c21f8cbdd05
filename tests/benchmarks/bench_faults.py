"""How fast a client hears of a killed worker: eight streams of the echo worker, four of a real model."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
from support import ECHO, REAL, Figure, echo_home, percentile, real_home, running_kernel, temporary_home


async def _until_error_s(
    session: aiohttp.ClientSession, url: str, model: str, started: asyncio.Semaphore
) -> float:
    """Monotonic seconds at which the error event came; the stream must not look complete."""
    # Said back without end by the echo worker.
    body = {"model": model, "stream": True, "prompt": "ENDLESS", "ignore_eos": True, "max_tokens": 4000}
    failed_s, has_text = 0.0, False
    with contextlib.suppress(aiohttp.ClientPayloadError):
        async with session.post(f"{url}/v1/completions", json=body) as response:
            async for line in response.content:
                if not has_text and b'"text":"' in line:
                    has_text = True
                    started.release()
                if b'"error"' in line:
                    failed_s = time.perf_counter()
                assert b"[DONE]" not in line
    assert failed_s, "the stream ended without an error event"
    return failed_s


async def _errors_ms(home: Path, model: str, num_streams: int, num_kills: int) -> list[float]:
    """From each kill to the error event of each stream."""
    taken_ms = []
    async with (
        running_kernel(home, http=True, model=model) as (_, client, url),
        aiohttp.ClientSession() as session,
    ):
        for _ in range(num_kills):
            started = asyncio.Semaphore(0)
            streams = [
                asyncio.create_task(_until_error_s(session, url, model, started)) for _ in range(num_streams)
            ]
            for _ in range(num_streams):
                await started.acquire()
            worker = (await client.status()).workers[0]
            killed_s = time.perf_counter()
            os.kill(worker.pid, signal.SIGKILL)
            taken_ms += [(failed_s - killed_s) * 1e3 for failed_s in await asyncio.gather(*streams)]
            # A crash a second is what the back-off lets through.
            await asyncio.sleep(1)
    return taken_ms


async def measure(count: int) -> list[Figure]:
    """*count* kills of each worker."""
    with temporary_home() as folder:
        home = echo_home(folder, faults=True, step_s=0.01)
        echo_ms = await _errors_ms(home, ECHO, 8, count)
    real_ms = await _errors_ms(real_home(), REAL, 4, count)
    return [
        _figure("a worker with 8 streams", echo_ms, count),
        _figure(f"{REAL} with 4 streams", real_ms, count),
    ]


def _figure(killed: str, taken_ms: list[float], count: int) -> Figure:
    detail = f"median {percentile(taken_ms, 50):.1f} ms, {count} kills"
    name = f"kill -9 of {killed} -> error event at the client, slowest"
    return Figure(name, max(taken_ms), "ms", ("<=", 250), detail)


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)):
        print(figure)
