"""What others notice of a frontend that floods the kernel with a million messages, of each kind of flood.

Round trips of one client to an echo model, one at a time, at rest and beside the flood by turns, so that both
have met the same machine. The flooder is another process that never reads; cut off, it connects again until
it has sent them all. What cannot be sent in `MAX_S` is ended there, and the detail says so.

For comparison, and without a target: the same beside a flooder that is connected to nobody. That is what the
system's own scheduling costs whoever shares its processors with such a process, which no kernel can mend.

A kind costs at most `MAX_S` and some five seconds for its kernel and the times at rest: ten take less than
six minutes on a quiet machine with two cores. With fewer messages the second in which a flooder is found out
and cut off is a larger part of the flood, and the ratio tells little.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from support import ECHO, Figure, chat, echo_home, percentile, running_kernel, temporary_home

from plugins.client import KernelClient
from transports import rundir

FLOODER = str(Path(__file__).with_name("flooder.py"))
# Of flooder.py.
KINDS = (
    "malformed",
    "unknown",
    "hellos",
    "pongs",
    "cancels",
    "submits",
    "no bodies",
    "questions",
    "mix",
    "huge",
)
# A flood comes in so many parts, each after a time at rest.
NUM_PARTS = 4
# Round trips at rest before each part of a million; beside a flood, at least `MIN_ROUND_TRIPS`.
NUM_AT_REST = 1000
MIN_ROUND_TRIPS = 100
# Of all parts of a kind together, seconds: a million messages of 8 MiB would take hours.
MAX_S = 30.0
# Far more than a kernel that reads needs to make room.
STALL_MS = 20


class Flood:
    """The process that floods."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        # Of the parts that came to their end.
        self.num_parts = 0
        self.num_connections = 0

    async def part(self, client: KernelClient, ends_s: float) -> list[float]:
        """Round trips of *client* in ms, while it sends a part, until *ends_s* (monotonic) at most."""
        if not self._process.stdin or not self._process.stdout:
            raise RuntimeError("the flooder was started without pipes")
        self._process.stdin.write(b"flood\n")
        end = asyncio.ensure_future(self._process.stdout.readline())
        taken = await round_trips_ms(
            client,
            lambda num: num >= MIN_ROUND_TRIPS and (end.done() or time.monotonic() > ends_s),
        )
        if end.done():
            self.num_parts += 1
            self.num_connections = int(end.result())
        else:
            end.cancel()
        return taken


@asynccontextmanager
async def flooder(connection_file: Path, kind: str, num_messages: int) -> AsyncIterator[Flood]:
    """One that sends *num_messages* a part, which is gone after the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, FLOODER, str(connection_file)),
        *(kind, str(num_messages), ECHO, str(STALL_MS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout:
            await process.stdout.readline()
        yield Flood(process)
    finally:
        process.kill()
        await process.wait()


@contextmanager
def nobody(folder: Path, home: Path) -> Iterator[Path]:
    """A copy of the connection file of *home* whose endpoint takes connections and never says a word."""
    endpoint = folder / "nobody.sock"
    connection = json.loads((rundir.locate(home) / "connection.json").read_text(encoding="utf-8"))
    file = folder / "nobody.json"
    file.write_text(json.dumps({**connection, "endpoint": f"ipc://{endpoint}"}), encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(endpoint))
        # More than a flooder makes.
        listener.listen(4096)
        yield file


async def round_trips_ms(client: KernelClient, is_over: Callable[[int], bool]) -> list[float]:
    """From submit to the end, one request at a time, until *is_over* of their number."""
    taken: list[float] = []
    while not is_over(len(taken)):
        started_s = time.perf_counter()
        async with client.submit(task="chat", model=ECHO, body=chat("hi")) as submission:
            async for _ in submission:
                pass
        taken.append((time.perf_counter() - started_s) * 1e3)
    return taken


async def measure(num_messages: int) -> list[Figure]:
    """The worst of all kinds of floods, of *num_messages* each."""
    details, ratios = [], []
    num_at_rest = max(MIN_ROUND_TRIPS, NUM_AT_REST * num_messages // 1_000_000)
    for kind in KINDS:
        at_rest: list[float] = []
        beside: list[float] = []
        with temporary_home() as folder:
            home = echo_home(folder)
            async with (
                running_kernel(home) as (_, client, _),
                flooder(rundir.locate(home) / "connection.json", kind, num_messages // NUM_PARTS) as flood,
            ):
                await round_trips_ms(client, lambda num: num >= MIN_ROUND_TRIPS)
                left_s = MAX_S
                for _ in range(NUM_PARTS):
                    at_rest += await round_trips_ms(client, lambda num: num >= num_at_rest)
                    began_s = time.monotonic()
                    beside += await flood.part(client, began_s + left_s)
                    left_s -= time.monotonic() - began_s
                    if left_s <= 0:
                        # It goes on: there is no rest any more.
                        break
        now, rest = percentile(beside, 99), percentile(at_rest, 99)
        ratios.append(now / rest)
        sent = (
            f"in {flood.num_connections} connections"
            if flood.num_parts == NUM_PARTS
            else f"ended after {MAX_S:g} s"
        )
        details.append(f"{kind} {now:.3g} against {rest:.3g} ms, {sent}")
    name = f"round trip beside {num_messages:,} messages / at rest, p99, the worst of all"
    return [
        Figure(name, max(ratios), "x", ("<=", 2.0), "; ".join(details)),
        await measure_nobody(num_messages, num_at_rest),
    ]


async def measure_nobody(num_messages: int, num_at_rest: int) -> Figure:
    """What others notice of the flooder itself: of the same processor time, spent on nobody."""
    at_rest: list[float] = []
    beside: list[float] = []
    with temporary_home() as folder:
        home = echo_home(folder)
        async with running_kernel(home) as (_, client, _):
            with nobody(folder, home) as file:
                async with flooder(file, "mix", num_messages // NUM_PARTS) as flood:
                    await round_trips_ms(client, lambda num: num >= MIN_ROUND_TRIPS)
                    for _ in range(NUM_PARTS):
                        at_rest += await round_trips_ms(client, lambda num: num >= num_at_rest)
                        beside += await flood.part(client, time.monotonic() + MAX_S / NUM_PARTS)
    now, rest = percentile(beside, 99), percentile(at_rest, 99)
    name = "round trip beside the same flooder, connected to nobody / at rest, p99"
    return Figure(name, now / rest, "x", detail=f"{now:.3g} against {rest:.3g} ms")


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)):
        print(figure)
