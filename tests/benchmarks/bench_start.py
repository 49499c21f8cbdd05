"""Start-up times and idle memory, of processes as a person starts them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import psutil
from support import Figure, percentile, temporary_home

MLXD = str(Path(sys.executable).with_name("mlxd"))
MIB = 1024 * 1024


def _help_s() -> float:
    started_s = time.perf_counter()
    subprocess.run([MLXD, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s


async def _serve(home: Path, port: int) -> tuple[float, dict[str, float]]:
    """Seconds to /ready without a model, and resident memory in MiB by process a second later."""
    environment = {**os.environ, "MLXD_HOME": str(home)}
    started_s = time.perf_counter()
    process = subprocess.Popen(
        [MLXD, "serve", "--no-preload", "--port", str(port)],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/ready") as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.005)
        ready_s = time.perf_counter() - started_s
        await asyncio.sleep(1)
        memory = {}
        for child in psutil.Process(process.pid).children(recursive=True):
            words = child.cmdline()
            for name in ("kernel", "plugins"):
                if name in words:
                    memory[name] = child.memory_info().rss / MIB
        return ready_s, memory
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def measure(count: int) -> list[Figure]:
    """Medians of *count* starts."""
    _help_s()
    helps_s = [_help_s() for _ in range(count)]
    readies_s, memories = [], []
    for _ in range(count):
        with temporary_home() as home:
            ready_s, memory = await _serve(home, _free_port())
        readies_s.append(ready_s)
        memories.append(memory)
    kernel = percentile([memory["kernel"] for memory in memories], 50)
    frontend = percentile([memory["plugins"] for memory in memories], 50)
    return [
        Figure("`mlxd serve` to /ready without a model, median", percentile(readies_s, 50), "s", ("<=", 1.5)),
        Figure("`mlxd --help`, median", percentile(helps_s, 50), "s", ("<=", 0.25)),
        Figure("idle memory of the kernel", kernel, "MiB", ("<=", 60)),
        Figure("idle memory of the HTTP frontend", frontend, "MiB", ("<=", 90)),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)):
        print(figure)
