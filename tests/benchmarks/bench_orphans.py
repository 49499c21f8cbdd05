"""What is left of a kernel that is killed at a random moment, its start-up included, and for how long."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

import msgspec
import psutil
from support import ECHO, Figure, chat, echo_home, percentile, temporary_home

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports import rundir
from transports.errors import MlxdError
from transports.settings import HttpSettings, KernelSettings, Settings

# From the start of its process: before its first line, while frontend and worker start, while they work.
MAX_DELAY_S = 1.5
GONE_WITHIN_S = 2.0
SETTINGS = Settings(kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0))


async def _spawn(home: Path) -> asyncio.subprocess.Process:
    """A kernel that preloads a model, from the first moment of its process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "kernel"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    bootstrap = {"home": str(home), "settings": SETTINGS, "preload": (ECHO,)}
    if process.stdin:
        process.stdin.write(msgspec.json.encode(bootstrap) + b"\n")
    return process


async def _ask(home: Path) -> None:
    """A request that is under way when the kernel dies, if it is up by then."""
    while (connection := rundir.read_connection(home)) is None:
        await asyncio.sleep(0.02)
    client = await KernelClient.connect(connection.endpoint, connection.token, kind="benchmark")
    try:
        async with client.submit(task="chat", model=ECHO, body=chat("word " * 3000)) as answer:
            async for _ in answer:
                pass
    finally:
        client.set_lost()


def _is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that only waits to be reaped by somebody does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def working_in(home: Path) -> set[int]:
    """Pids of the living processes that were started for this home: told of it, or working in it."""
    found = set()
    for process in filter(_is_alive, psutil.process_iter()):
        try:
            told = process.environ().get("MLXD_HOME") == str(home)
            if told or process.cwd().startswith(str(home.resolve())):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


async def _kill_once(home: Path) -> tuple[int, float]:
    """How many processes stayed, and seconds until the others were gone."""
    kernel = await _spawn(home)
    asking = asyncio.create_task(_ask(home))
    await asyncio.sleep(random.uniform(0, MAX_DELAY_S))
    children = psutil.Process(kernel.pid).children(recursive=True)
    os.kill(kernel.pid, signal.SIGKILL)
    killed_s = time.perf_counter()
    await kernel.wait()
    while time.perf_counter() - killed_s < GONE_WITHIN_S and any(map(_is_alive, children)):
        await asyncio.sleep(0.005)
    gone_s = time.perf_counter() - killed_s
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    left = await asyncio.to_thread(working_in, home)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return len(left), gone_s


async def _restart_s(home: Path) -> float:
    """Seconds from the start of the next kernel, over what is left, to its first answer."""
    began_s = time.perf_counter()
    process = await KernelProcess.start(SETTINGS, home)
    client = await KernelClient.connect(
        process.connection.endpoint, process.connection.token, kind="benchmark"
    )
    async with client.submit(task="chat", model=ECHO, body=chat("word")) as answer:
        async for _ in answer:
            pass
    taken_s = time.perf_counter() - began_s
    await client.close()
    process.end()
    await process.wait()
    return taken_s


async def measure(count: int) -> list[Figure]:
    """*count* kernels are killed."""
    with temporary_home() as folder:
        home = echo_home(folder, step_s=0.01)
        try:
            ends = [await _kill_once(home) for _ in range(count)]
            restart_s = await _restart_s(home)
        except MlxdError as e:
            raise SystemExit(f"the kernel could not be used: {e.message}") from None
    gone_s = [taken_s for _, taken_s in ends]
    return [
        Figure(
            f"orphans after {count} kill -9 of the kernel at random moments",
            sum(num_left for num_left, _ in ends),
            "processes",
            ("<=", 0),
            f"all children gone after: median {percentile(gone_s, 50):.3f} s, slowest {max(gone_s):.3f} s",
        ),
        Figure("start over what they left, to the first answer", restart_s, "s", ("<=", 3.0)),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)):
        print(figure)
