"""A thousand clients that send or read as slowly as they can: what a request beside them takes.

By slowhttptest (Debian's package of that name): heads and bodies that never end, answers that nobody reads,
ranges without number. Each request beside it has a connection of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time

import aiohttp
from support import ECHO, Figure, echo_home, percentile, running_kernel, temporary_home

NUM_SLOW = 1000
# Of each kind, after so long for all of them to come.
COME_S = 3.0
ATTACK_S = 20
KINDS = {
    "heads that never end": ("-H",),
    "bodies that never end": ("-B", "-s", "8192"),
    "ranges without number": ("-R",),
    "answers that nobody reads": ("-X", "-n", "5", "-w", "1", "-y", "2", "-z", "1"),
}
BODY = {"model": ECHO, "messages": [{"role": "user", "content": "hi"}]}


async def _taken_ms(url: str, count: int) -> list[float]:
    """Milliseconds of each of *count* chats, one after the other."""
    taken = []
    for _ in range(count):
        began_s = time.perf_counter()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/chat/completions", json=BODY) as reply,
        ):
            assert reply.status == 200, await reply.text()
            await reply.read()
        taken.append((time.perf_counter() - began_s) * 1e3)
    return taken


async def _beside(program: str, options: tuple[str, ...], url: str, count: int) -> list[float]:
    attack = await asyncio.create_subprocess_exec(
        *(program, *options, "-c", str(NUM_SLOW), "-r", "500", "-l", str(ATTACK_S), "-i", "5"),
        *("-u", f"{url}/v1/chat/completions" if "-B" in options else f"{url}/v1/models"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.sleep(COME_S)
        return await _taken_ms(url, count)
    finally:
        if attack.returncode is None:
            attack.kill()
        await attack.wait()


async def measure(count: int) -> list[Figure]:
    """*count* requests beside each kind, and as many before it alone."""
    program = shutil.which("slowhttptest")
    if program is None:
        return [Figure("requests beside slow clients: not measured without slowhttptest", 0, "")]
    figures = []
    with temporary_home() as folder:
        async with running_kernel(echo_home(folder), http=True) as (_, _, url):
            await _taken_ms(url, 20)
            for kind, options in KINDS.items():
                alone_ms = percentile(await _taken_ms(url, count), 99)
                beside_ms = percentile(await _beside(program, options, url, count), 99)
                figures.append(
                    Figure(
                        f"a request beside {NUM_SLOW} {kind}: p99 over p99 alone",
                        beside_ms / alone_ms,
                        "x",
                        ("<=", 2),
                        f"{alone_ms:.1f} ms alone, {beside_ms:.1f} ms beside",
                    )
                )
    return figures


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 400)):
        print(figure)
