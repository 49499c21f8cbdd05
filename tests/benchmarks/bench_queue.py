"""A queue that is full and stays fair: a thousand requests on 64 places, and one client beside five hundred.

The thousand come in two ways: one each two milliseconds over HTTP, where an answer takes the time of the
server; and all at once through one connection to the kernel, where it waits for those of all others.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
import psutil
from support import ECHO, Figure, chat, echo_home, percentile, running_kernel, temporary_home

from plugins.client import KernelClient
from transports.errors import CapacityError, QueueFull
from transports.messages import Done
from transports.rundir import Connection

NUM_SLOTS = 8
# kernel.max_queued.
NUM_PLACES = 64
# A request takes a second of a slot, so that the queue is full all the time.
STEP_S, NUM_WORDS = 0.05, 20
TEXT = "word " * NUM_WORDS
INTERVAL_S = 0.002
# Of the clients that share.
SHORT = "a b c d e"
MIB = 1024 * 1024


class Used(msgspec.Struct):
    """What a client got."""

    # Time that its requests were in slots.
    slot_s: float = 0.0
    # Of each request, that which the slot did not take.
    waited_ms: list[float] = []


class Crowd:
    """What became of many requests."""

    def __init__(self) -> None:
        self.refused_ms: list[float] = []
        self.retry_after_s: list[float] = []
        # Numbers of the accepted ones as they ended.
        self.served: list[int] = []

    @property
    def is_in_order(self) -> bool:
        """Those that share a slot's turn end in one step; nobody ends before one of an earlier turn."""
        place = {number: at for at, number in enumerate(sorted(self.served))}
        return all(abs(place[number] - at) < NUM_SLOTS for at, number in enumerate(self.served))


async def _over_http(url: str, count: int) -> Crowd:
    crowd = Crowd()
    body = {"model": ECHO, "messages": [{"role": "user", "content": TEXT}]}

    async def one(number: int, session: aiohttp.ClientSession) -> None:
        began_s = time.perf_counter()
        async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
            await reply.read()
        if reply.status == 200:
            crowd.served.append(number)
            return
        assert reply.status == 429, reply.status
        crowd.refused_ms.append((time.perf_counter() - began_s) * 1e3)
        crowd.retry_after_s.append(int(reply.headers["Retry-After"]))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begin_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number, session))
                await asyncio.sleep(max(0.0, begin_s + (number + 1) * INTERVAL_S - time.perf_counter()))
    return crowd


async def _at_once(client: KernelClient, count: int, kernel: psutil.Process) -> tuple[Crowd, int]:
    """The crowd, and by how many bytes the kernel grew."""
    crowd = Crowd()
    before_bytes = kernel.memory_info().rss
    grown_bytes = 0

    async def one(number: int) -> None:
        nonlocal grown_bytes
        began_s = time.perf_counter()
        try:
            async with client.submit(task="chat", model=ECHO, body=chat(TEXT)) as submission:
                async for _ in submission:
                    pass
            crowd.served.append(number)
        except QueueFull:
            crowd.refused_ms.append((time.perf_counter() - began_s) * 1e3)
            if len(crowd.refused_ms) == count - NUM_SLOTS - NUM_PLACES:
                grown_bytes = kernel.memory_info().rss - before_bytes

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return crowd, max(grown_bytes, kernel.memory_info().rss - before_bytes)


async def _ask_again_and_again(connection: Connection, num: int, seconds: float) -> Used:
    """*num* open requests of one client all the time; as told to wait, they wait."""
    used = Used()
    client = await KernelClient.connect(connection.endpoint, connection.token, kind="benchmark")
    end_s = time.perf_counter() + seconds

    async def ask() -> None:
        while (began_s := time.perf_counter()) < end_s:
            try:
                async with client.submit(task="chat", model=ECHO, body=chat(SHORT)) as submission:
                    async for update in submission:
                        if isinstance(update, Done) and update.timings:
                            used.slot_s += update.timings.total_s
                            took_s = time.perf_counter() - began_s
                            used.waited_ms.append((took_s - update.timings.total_s) * 1e3)
            except CapacityError as e:
                await asyncio.sleep(e.retry_after_s or 1)

    async with asyncio.TaskGroup() as group:
        for _ in range(num):
            group.create_task(ask())
    await client.close()
    return used


async def _shares(home: Path, few: int, many: int, seconds: float) -> tuple[Used, Used]:
    """What a client with *few* open requests gets beside one with *many*, which is a process of its own."""
    async with running_kernel(home) as (kernel, _, _):
        told = msgspec.json.encode(kernel.connection).decode()
        arguments = (__file__, "--crowd", told, str(many), str(seconds))
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
        )
        mine = await _ask_again_and_again(kernel.connection, few, seconds)
        output, _ = await crowd.communicate()
    return mine, msgspec.json.decode(output, type=Used)


def _jain(*used_s: float) -> float:
    """Jain's index: 1 when all have the same, 1/n when one has all."""
    return sum(used_s) ** 2 / (len(used_s) * sum(used**2 for used in used_s))


async def measure(count: int) -> list[Figure]:
    """*count* requests on a queue of 64; then two clients for *count* / 100 seconds each way."""
    with temporary_home() as folder:
        home = echo_home(folder, num_slots=NUM_SLOTS, step_s=STEP_S)
        async with running_kernel(home, http=True) as (process, client, url):
            paced = await _over_http(url, count)
            burst, grown_bytes = await _at_once(client, count, psutil.Process(process.pid))
    figures = [
        Figure(
            f"{count} requests in {count * INTERVAL_S:g} s on {NUM_PLACES} places: 429 over HTTP, p99",
            percentile(paced.refused_ms, 99),
            "ms",
            ("<=", 20),
            f"median {percentile(paced.refused_ms, 50):.1f} ms; {len(paced.served)} served, "
            f"{'in order' if paced.is_in_order else 'NOT IN ORDER'}; Retry-After "
            f"{min(paced.retry_after_s):g} to {max(paced.retry_after_s):g} s",
        ),
        Figure(
            f"{count} requests at once in the kernel: the last one refused after",
            max(burst.refused_ms),
            "ms",
            None,
            f"{len(burst.served)} served, {'in order' if burst.is_in_order else 'NOT IN ORDER'}",
        ),
        Figure("the kernel's memory grows by", grown_bytes / MIB, "MiB", ("<=", 50)),
    ]
    for num_slots, few, many in ((1, 1, 500), (4, 4, 500)):
        with temporary_home() as folder:
            home = echo_home(folder, num_slots=num_slots, step_s=0.005)
            mine, others = await _shares(home, few, many, count / 100)
        waits_ms = [percentile(used.waited_ms, 50) for used in (mine, others)]
        detail = f"median wait {waits_ms[0]:.0f} ms, and {waits_ms[1]:.0f} ms of the other client"
        name = f"{many} open requests beside {few}, slots: {num_slots}: Jain's index of service"
        figures.append(Figure(name, _jain(mine.slot_s, others.slot_s), "", (">=", 0.9), detail))
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["--crowd"]:
        told, num, seconds = sys.argv[2:]
        connection = msgspec.json.decode(told, type=Connection)
        crowd = asyncio.run(_ask_again_and_again(connection, int(num), float(seconds)))
        sys.stdout.buffer.write(msgspec.json.encode(crowd))
    else:
        for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)):
            print(figure)
