"""What a refused request takes, for each way to be refused, and that no worker suffers by it.

Each request has a connection of its own, and its time begins with that.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from refusals import (
    EYES,
    FAULTY,
    GOOD,
    OTHERS,
    SELDOM,
    Refusal,
    of_a_model,
    of_the_server,
    too_complex,
)
from support import ECHO, REAL, Figure, add_echo, percentile, real_home, running_kernel, temporary_home

from plugins.client import KernelClient
from plugins.keys import FILE_NAME, Key, change_keys, digest_of
from transports.reports import Admin, DoneReply, WorkerInfo

# A grammar that takes for ever is refused after 2 s of processor time.
MAX_TOO_COMPLEX_S = 3.0
# Until the fatal request is known for what it is, and its worker is back.
WARM_TIMEOUT_S = 60.0
NUM_WORDS = 20_000
# Words of two tokens each: 8,400 for a context of 8,192.
NUM_SOMEWHAT = 4_200


async def _refused_ms(url: str, refusal: Refusal, number: int) -> tuple[int, float]:
    """Status and milliseconds."""
    address = url.removeprefix("http://")
    host, _, port = address.rpartition(":")
    data = refusal.request(address, number)
    began_s = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split(b" ", 2)[1]), (time.perf_counter() - began_s) * 1e3
    finally:
        writer.transport.abort()


async def _taken_ms(url: str, refusals: Sequence[Refusal], count: int) -> dict[Refusal, list[float]]:
    """Milliseconds of each kind, in turn, so that a slow moment of the machine is everybody's."""
    taken: dict[Refusal, list[float]] = defaultdict(list)
    for number in range(count):
        for refusal in refusals:
            status, took_ms = await _refused_ms(url, refusal, number)
            assert status == refusal.status, f"{refusal.name}: {status}"
            taken[refusal].append(took_ms)
    return taken


async def _warm(url: str, refusals: Sequence[Refusal]) -> None:
    """Once each, with what is started or imported on first use."""
    async with asyncio.timeout(WARM_TIMEOUT_S):
        for refusal in refusals:
            while (await _refused_ms(url, refusal, -1))[0] != refusal.status:
                await asyncio.sleep(0.1)


async def _workers(client: KernelClient) -> dict[str, WorkerInfo]:
    return {worker.model: worker for worker in (await client.status()).workers}


def _figures(taken: dict[Refusal, list[float]], by_whom: str) -> list[Figure]:
    """One for each status: the slowest kind's p99."""
    of_status: dict[int, dict[str, list[float]]] = defaultdict(dict)
    for refusal, times_ms in taken.items():
        of_status[refusal.status][refusal.name] = times_ms
    figures = []
    for status, kinds in sorted(of_status.items()):
        slowest = max(kinds, key=lambda name: percentile(kinds[name], 99))
        all_ms = [one for times_ms in kinds.values() for one in times_ms]
        figures.append(
            Figure(
                f"refused with {status} {by_whom}, p99 of the slowest of {len(kinds)} kinds",
                percentile(kinds[slowest], 99),
                "ms",
                ("<=", 20),
                f"{slowest}; of all kinds: median {percentile(all_ms, 50):.1f} ms, "
                f"p99 {percentile(all_ms, 99):.1f} ms",
            )
        )
    return figures


def _touched(before: dict[str, WorkerInfo], after: dict[str, WorkerInfo], num_heard: int) -> Figure:
    """How many workers are other processes than before, or got other requests than they should."""
    wrong = [
        model
        for model, one in before.items()
        if (one.pid, one.num_started + (num_heard if model == REAL else 0))
        != (after[model].pid, after[model].num_started)
    ]
    return Figure(
        "workers that are not as they were", len(wrong), "workers", ("<=", 0), ", ".join(wrong) or "of all"
    )


def _write_keys(home: Path) -> None:
    def key(name: str, secret: str, models: tuple[str, ...] = (), a_minute: int = 0) -> Key:
        digest = digest_of(secret)
        return Key(name=name, digest=digest, created=1, models=models, max_requests_per_minute=a_minute)

    keys = key("good", GOOD), key("seldom", SELDOM, a_minute=1), key("others", OTHERS, ("echo/other",))
    change_keys(home / FILE_NAME, lambda _: keys)


async def _of_the_server(count: int) -> list[Figure]:
    refusals = of_the_server()
    with temporary_home() as home:
        for model in (ECHO, EYES, FAULTY):
            fields = {EYES: {"modalities": ["text", "image"]}, FAULTY: {"faults": True}}
            add_echo(home, model, **fields.get(model, {}))
        _write_keys(home)
        async with running_kernel(home, http=True) as (_, client, url):
            await client.admin("load", Admin(model=EYES), DoneReply)
            await _warm(url, refusals)
            # What was to end it has; nothing does so any more.
            await client.admin("load", Admin(model=FAULTY), DoneReply)
            before = await _workers(client)
            taken = await _taken_ms(url, refusals, count)
            touched = _touched(before, await _workers(client), 0)
    return [*_figures(taken, "by the server"), touched]


async def _of_a_model(count: int) -> list[Figure]:
    refusals = of_a_model(NUM_WORDS, NUM_SOMEWHAT)
    async with running_kernel(real_home(), http=True, model=REAL) as (_, client, url):
        slow_s = [
            (await _refused_ms(url, one, number))[1] / 1e3 for number in range(2) for one in too_complex()
        ]
        await _warm(url, refusals)
        before = await _workers(client)
        taken = await _taken_ms(url, refusals, count)
        num_heard = count * sum(refusal.by_worker for refusal in refusals)
        touched = _touched(before, await _workers(client), num_heard)
    return [
        *_figures(taken, f"for {REAL}"),
        touched,
        Figure(
            "a grammar that would take for ever, refused after",
            max(slow_s),
            "s",
            ("<=", MAX_TOO_COMPLEX_S),
            f"one after the other, the first before any grammar: {', '.join(f'{one:.2f}' for one in slow_s)}",
        ),
    ]


async def measure(count: int) -> list[Figure]:
    """*count* requests of each kind."""
    return [*await _of_the_server(count), *await _of_a_model(count)]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 300)):
        print(figure)
