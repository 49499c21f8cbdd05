"""What others notice of a frontend that floods the kernel with a million messages.

Round trips of one client to an echo model, one at a time, at rest and from the first message of the flood on.
The flooder is another process that never reads; it goes on when the kernel has cut it off.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from support import ECHO, Figure, chat, echo_home, percentile, running_kernel, temporary_home

from plugins.client import KernelClient
from transports import rundir

FLOODER = str(Path(__file__).with_name("flooder.py"))
NUM_MESSAGES = 1_000_000
# Each flood is looked at for so long at most, seconds; after it was cut off it goes on for hours.
MAX_S = 10.0
KINDS = ("malformed", "hellos", "pongs", "cancels", "submits", "questions", "huge")


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


async def flooded_ms(client: KernelClient, home: Path, kind: str) -> list[float]:
    """As `round_trips_ms`, while a process floods."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            FLOODER,
            str(rundir.locate(home) / "connection.json"),
            kind,
            str(NUM_MESSAGES),
            ECHO,
        ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    await process.stdout.readline()
    process.stdin.write(b"begin\n")
    ends_s = time.monotonic() + MAX_S
    try:
        return await round_trips_ms(
            client, lambda _: process.returncode is not None or time.monotonic() > ends_s
        )
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure(count: int) -> list[Figure]:
    """The worst of all kinds of floods; *count* round trips at rest before each."""
    ratios: dict[str, tuple[float, float, float]] = {}
    for kind in KINDS:
        with temporary_home() as folder:
            home = echo_home(folder)
            async with running_kernel(home) as (_, client, _):
                await round_trips_ms(client, lambda num: num >= count // 10)
                at_rest = percentile(await round_trips_ms(client, lambda num: num >= count), 99)
                flooded = percentile(await flooded_ms(client, home, kind), 99)
                ratios[kind] = (flooded / at_rest, flooded, at_rest)
    detail = "; ".join(f"{kind} {now:.3g} against {rest:.3g} ms" for kind, (_, now, rest) in ratios.items())
    worst = max(ratio for ratio, _, _ in ratios.values())
    return [
        Figure("round trip beside a flood / at rest, p99, the worst of all", worst, "x", ("<=", 2.0), detail)
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)):
        print(figure)
