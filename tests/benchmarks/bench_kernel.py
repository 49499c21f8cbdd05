"""The road through the kernel without HTTP, against a bare ROUTER loop in the same run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import zmq
from support import ECHO, Figure, chat, echo_home, percentile, running_kernel, temporary_home

from plugins.client import KernelClient
from transports.frames import Frame
from transports.messages import Delta
from transports.sockets import DrainedSocket

IN_FLIGHT = 64
MESSAGE = b"x" * 60
# Pairs of runs; the ratio is of the medians.
NUM_ROUNDS = 5

RoundTrip = Callable[[], Awaitable[None]]


async def latencies_s(round_trip: RoundTrip, count: int) -> list[float]:
    """One at a time."""
    taken = []
    for _ in range(count):
        started_s = time.perf_counter()
        await round_trip()
        taken.append(time.perf_counter() - started_s)
    return taken


async def rate(round_trip: RoundTrip, count: int) -> float:
    """Round trips a second with IN_FLIGHT at once."""

    async def one_after_the_other() -> None:
        for _ in range(count // IN_FLIGHT):
            await round_trip()

    started_s = time.perf_counter()
    await asyncio.gather(*[one_after_the_other() for _ in range(IN_FLIGHT)])
    return count / (time.perf_counter() - started_s)


class BareClient:
    """A DEALER on the same drained loop as KernelClient, without messages."""

    def __init__(self, endpoint: str) -> None:
        socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.connect(endpoint)
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._next = 0
        self._socket = DrainedSocket(socket, self._arrived)

    async def round_trip(self) -> None:
        self._next += 1
        key = self._next.to_bytes(8, "big")
        future = self._waiting[key] = asyncio.get_running_loop().create_future()
        self._socket.send([key, MESSAGE])
        await future

    def _arrived(self, frames: list[Frame]) -> None:
        self._waiting.pop(bytes(frames[0])).set_result(None)

    def close(self) -> None:
        self._socket.close()


async def _submit(client: KernelClient) -> None:
    """Until the first text."""
    async with client.submit(task="chat", model=ECHO, body=chat("hi")) as submission:
        async for update in submission:
            if isinstance(update, Delta):
                break
        async for _ in submission:
            pass


async def measure(count: int) -> list[Figure]:
    """All figures; *count* round trips each."""
    with temporary_home() as folder:
        endpoint = f"ipc://{folder / 'bare.sock'}"
        script = str(Path(__file__).with_name("bare_loop.py"))
        parts = []
        for part in ("router", "worker"):
            process = subprocess.Popen(
                [sys.executable, script, part, endpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            process.stdout.readline()
            parts.append(process)
        home = echo_home(folder / "home", num_slots=IN_FLIGHT)
        bare_us, ours_us, bare_rates, our_rates = [], [], [], []
        async with running_kernel(home) as (_, client, _):
            bare = BareClient(endpoint)
            for _ in range(NUM_ROUNDS):
                bare_us += await latencies_s(bare.round_trip, count // 10)
                ours_us += await latencies_s(lambda: _submit(client), count // 10)
                bare_rates.append(await rate(bare.round_trip, count))
                our_rates.append(await rate(lambda: _submit(client), count))
            bare.close()
        for process in parts:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    bare_rate, our_rate = percentile(bare_rates, 50), percentile(our_rates, 50)
    return [
        Figure("submit -> event -> client, p50", percentile(ours_us, 50) * 1e3, "ms", ("<=", 0.4)),
        Figure("  of which two bare hops, p50", percentile(bare_us, 50) * 1e3, "ms"),
        Figure(
            f"round trips/s, {IN_FLIGHT} in flight, kernel / bare loop",
            our_rate / bare_rate,
            "x",
            (">=", 0.5),
            f"{our_rate:,.0f}/s against {bare_rate:,.0f}/s",
        ),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 6400)):
        print(figure)
