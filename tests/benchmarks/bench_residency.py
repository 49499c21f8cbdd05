"""Two models that take turns in a budget for one, and how soon the memory of an unloaded one is back."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

import psutil
from support import REAL, Figure, chat, real_home, temporary_home

from kernel.gauge import Gauge
from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports.messages import Delta
from transports.reports import Admin, DoneReply
from transports.settings import MIB, KernelSettings, Settings

VISION = "demo/tiny-vl"
ECHOES = ("echo/a", "echo/b")
ECHO_BYTES = 200 * MIB
# For one echo model, and for one of the real ones (at least 1.2 and 0.6 GB).
ECHO_BUDGET, REAL_BUDGET = 300 * MIB, 1500 * MIB
BACK_BYTES = 5 * 10**6


class Kernel:
    """A kernel with a budget, as a client sees it."""

    def __init__(self, process: KernelProcess, client: KernelClient) -> None:
        self.process = process
        self.client = client

    @classmethod
    async def start(cls, home: Path, budget_bytes: int = 0) -> Kernel:
        settings = Settings(kernel=KernelSettings(frontends=(), memory_budget_bytes=budget_bytes))
        process = await KernelProcess.start(settings, home)
        connection = process.connection
        return cls(
            process, await KernelClient.connect(connection.endpoint, connection.token, kind="benchmark")
        )

    async def end(self) -> None:
        await self.client.close()
        self.process.end()
        await self.process.wait()

    async def first_word_s(self, model: str) -> float:
        """From a request to the first text of its answer; raises if it fails."""
        start_s = time.perf_counter()
        async with self.client.submit(task="chat", model=model, body=chat("hello", 1)) as updates:
            async for update in updates:
                if isinstance(update, Delta):
                    break
            else:
                raise AssertionError(f"{model} said nothing")
            return time.perf_counter() - start_s

    async def load(self, model: str) -> None:
        await self.client.admin("load", Admin(model=model), DoneReply)

    async def unload(self, model: str) -> None:
        await self.client.admin("unload", Admin(model=model, force=True), DoneReply)

    def pss_bytes(self) -> int:
        """Of the kernel and all that it started."""
        kernel = psutil.Process(self.process.pid)
        pids = [kernel.pid, *(child.pid for child in kernel.children(recursive=True))]
        found = Gauge().measure(pids).memory_bytes
        return sum(found.get(pid, 0) for pid in pids)


async def _swaps_s(home: Path, models: tuple[str, str], budget_bytes: int, count: int) -> list[float]:
    """What a swap takes beyond the load of the same model into empty memory.

    Both follow on the other model: a virtual machine's memory that was free for seconds is the host's again,
    and a load that has to fetch it back takes half as long again.
    """
    kernel = await Kernel.start(home, budget_bytes)
    taken_s: dict[bool, list[float]] = {True: [], False: []}
    try:
        await kernel.first_word_s(models[0])
        for i in range(count):
            for is_swap in (i % 2 == 0, i % 2 == 1):
                for other, model in (models, models[::-1]):
                    if not is_swap:
                        await kernel.unload(other)
                    taken_s[is_swap].append(await kernel.first_word_s(model))
                    loaded = {worker.model for worker in (await kernel.client.status()).workers}
                    assert loaded == {model}, f"{other} did not leave"
    finally:
        await kernel.end()
    return [swap_s - load_s for swap_s, load_s in zip(taken_s[True], taken_s[False], strict=True)]


async def _back(home: Path, model: str, count: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds from unload until the memory is back, megabytes that are not, and those the system misses."""
    kernel = await Kernel.start(home)
    back_s, missing_mb, system_mb = [], [], []
    try:
        for _ in range(count + 1):
            before, available = kernel.pss_bytes(), psutil.virtual_memory().available
            await kernel.load(model)
            await kernel.first_word_s(model)
            start_s = time.perf_counter()
            await kernel.unload(model)
            while (now := kernel.pss_bytes()) > before + BACK_BYTES and time.perf_counter() < start_s + 5:
                await asyncio.sleep(0.005)
            back_s.append(time.perf_counter() - start_s)
            missing_mb.append((now - before) / 1e6)
            await asyncio.sleep(1)
            system_mb.append((available - psutil.virtual_memory().available) / 1e6)
    finally:
        await kernel.end()
    # The first one warms up the kernel itself.
    return back_s[1:], missing_mb[1:], system_mb[1:]


async def measure(count: int) -> list[Figure]:
    """*count* swaps and unloads."""
    with temporary_home() as home:
        for name in ECHOES:
            folder = home / "models" / name
            folder.mkdir(parents=True)
            config = {"model_type": "echo", "memory_bytes": ECHO_BYTES}
            (folder / "config.json").write_text(json.dumps(config))
        echo_s = await _swaps_s(home, ECHOES, ECHO_BUDGET, count)
    real_s = await _swaps_s(real_home(), (REAL, VISION), REAL_BUDGET, count)
    back_s, missing_mb, system_mb = await _back(real_home(), REAL, count)
    detail = f"slowest of {count}; the system's MemAvailable is {statistics.median(system_mb):+.1f} MB off"
    return [
        _swap("two echo models of 200 MiB", echo_s),
        _swap(f"{REAL} and {VISION}", real_s),
        Figure(f"{REAL}: unload -> its memory is back", max(back_s), "s", ("<=", 2), detail),
        Figure(f"{REAL}: what is not back then", max(missing_mb), "MB", ("<=", BACK_BYTES / 1e6)),
    ]


def _swap(models: str, beyond_s: list[float]) -> Figure:
    detail = f"median of {len(beyond_s)}, slowest {max(beyond_s):.2f} s; no request failed"
    name = f"{models} take turns: beyond the load itself"
    return Figure(name, statistics.median(beyond_s), "s", ("<=", 0.3), detail)


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)):
        print(figure)
