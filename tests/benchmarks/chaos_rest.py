"""What is left when nobody asks any more: processes, descriptors, shared files, memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from chaos_outcome import Violation
from chaos_world import World

from transports import rundir

# For what was cancelled to leave the workers, and for what was unloaded to end; not for what hangs.
REST_TIMEOUT_S = 30.0
# For descriptors of what has ended.
COME_BACK_S = 5.0
# A timer's or an accept's, that comes and goes.
SPARE_DESCRIPTORS = 2
# Of a frontend, for each process that decodes pictures: two pipes.
DECODER_DESCRIPTORS = 2
# The growth of what lives on, once it is warm; the issue of months allows one megabyte an hour.
MAX_SLOPE_MIB_PER_H = 1.0
# Less time than this says nothing about an hour.
MIN_SLOPE_S = 600.0
# What the system counts moves in steps: an allocator keeps what it needed once, such as for a flood.
MAX_STEP_MIB = 1.0
MIB = 1 << 20


@dataclass(frozen=True)
class Rest:
    """What there is of a mlxd at rest: kernel and frontend, and nothing else."""

    kernel_descriptors: int
    frontend_descriptors: int
    files: tuple[str, ...]


@dataclass
class Memory:
    """The memory of each process at each rest, bytes."""

    samples: dict[tuple[str, int], list[tuple[float, int]]] = field(default_factory=dict)

    def add(self, name: str, process: psutil.Process) -> None:
        """Note how much a process has now."""
        self.samples.setdefault((name, process.pid), []).append((time.monotonic(), process.memory_info().rss))

    def slope_mib_per_h(self, name: str) -> float | None:
        """Of the longest life of that name, without its first third; None when that is too short a time."""
        warm = self._warm(name)
        if len(warm) < 3 or warm[-1][0] - warm[0][0] < MIN_SLOPE_S:
            return None
        mean_s = sum(at for at, _ in warm) / len(warm)
        mean = sum(rss for _, rss in warm) / len(warm)
        above = sum((at - mean_s) * (rss - mean) for at, rss in warm)
        return above / sum((at - mean_s) ** 2 for at, _ in warm) * 3600 / MIB

    def _warm(self, name: str) -> list[tuple[float, int]]:
        lives = [samples for (of, _), samples in self.samples.items() if of == name]
        life = max(lives, key=lambda samples: samples[-1][0] - samples[0][0], default=[])
        return life[len(life) // 3 :]

    def check(self) -> None:
        """Nothing that lives for long grows, beyond one step of the allocator.

        Raises:
            Violation: Something does.
        """
        for name in ("kernel", "frontend"):
            slope = self.slope_mib_per_h(name)
            if slope is None or slope <= MAX_SLOPE_MIB_PER_H:
                continue
            warm = self._warm(name)
            growth_mib = slope * (warm[-1][0] - warm[0][0]) / 3600
            if growth_mib > MAX_STEP_MIB:
                raise Violation(
                    f"memory of the {name} grows by {slope:.2f} MiB an hour: {growth_mib:.2f} MiB so far"
                )


async def settle(world: World) -> None:
    """Wait until nothing runs and nothing waits, then take all models out of memory.

    Raises:
        Violation: Something goes on although nobody wants it.
    """
    await _until_nothing("runs", lambda: _running(world), world.kernel.hung_after_s)
    for worker in (await world.status()).workers:
        await world.admin("unload", worker.model, force=True)
    await _until_nothing("is loaded", lambda: _loaded(world))
    await _until_nothing("is left over", lambda: _strangers(world))


async def look(world: World, memory: Memory) -> Rest:
    """What there is now; call after `settle`."""
    kernel = psutil.Process(world.pid)
    frontend = psutil.Process(await world.frontend_pid())
    memory.add("kernel", kernel)
    memory.add("frontend", frontend)
    descriptors = frontend.num_fds() - DECODER_DESCRIPTORS * len(frontend.children())
    shared = [str(path.relative_to(world.shared_dir)) for path in world.shared_dir.glob("*/*")]
    run = [path.name for path in rundir.locate(world.home).iterdir()]
    return Rest(kernel.num_fds(), descriptors, tuple(sorted(shared + run)))


async def _until_nothing(what: str, find: Callable[[], Awaitable[list[str]]], more_s: float = 0.0) -> None:
    left: list[str] = []
    limit_s = REST_TIMEOUT_S + more_s
    try:
        async with asyncio.timeout(limit_s):
            while left := await find():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise Violation(f"after {limit_s:.0f} s of rest {what}: {left}") from None


async def _running(world: World) -> list[str]:
    """Requests that have not ended although nobody waits for one."""
    status = await world.status()
    running = [f"{w.model}: {w.num_active} running, {w.num_queued} waiting" for w in status.workers]
    return [line for line in running if not line.endswith(": 0 running, 0 waiting")] + [
        f"{f.name}: {f.num_requests} open" for f in status.frontends if f.num_requests
    ]


async def _loaded(world: World) -> list[str]:
    return [f"{worker.model} ({worker.state})" for worker in (await world.status()).workers]


async def _strangers(world: World) -> list[str]:
    """Processes that work in this home and are neither kernel nor frontend nor its decoders."""
    frontend = await world.frontend_pid()
    if not frontend:
        return ["no frontend"]
    family = {world.pid, frontend, *(child.pid for child in psutil.Process(frontend).children())}
    return await asyncio.to_thread(_working_in, world.home, family)


def _working_in(home: Path, family: set[int]) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            told = process.environ().get("MLXD_HOME") == str(home) or process.cwd().startswith(str(home))
            if told and process.pid not in family:
                found.append(f"{process.pid} {' '.join(process.cmdline()[-3:])}")
        except psutil.Error:
            continue
    return found


async def come_back(world: World, memory: Memory, baseline: Rest) -> None:
    """Wait until there is no more than at the beginning: what has just ended takes a moment to be gone.

    Raises:
        Violation: It stays.
    """
    until_s = time.monotonic() + COME_BACK_S
    while True:
        now = await look(world, memory)
        try:
            return compare(baseline, now)
        except Violation as e:
            if time.monotonic() > until_s:
                raise Violation(f"{e}; the kernel's: {_open_files(world.pid)}") from None
        await asyncio.sleep(0.1)


def _open_files(pid: int) -> str:
    """What the descriptors of a process are, with how often; "" where that is not told."""
    folder = Path(f"/proc/{pid}/fd")
    sockets = {one.fd: f"socket {one.laddr}" for one in psutil.Process(pid).net_connections("all")}
    names = Counter[str]()
    for link in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            names[sockets.get(int(link.name), link.readlink().name)] += 1
    return ", ".join(f"{count} {name}" for name, count in names.most_common())


def compare(baseline: Rest, now: Rest) -> None:
    """Everything is back to where it was.

    Raises:
        Violation: It is not.
    """
    for name in ("kernel_descriptors", "frontend_descriptors"):
        before, after = getattr(baseline, name), getattr(now, name)
        if after > before + SPARE_DESCRIPTORS:
            raise Violation(f"{name}: {after}, at the beginning {before}")
    if baseline.files != now.files:
        raise Violation(f"files: {now.files}, at the beginning {baseline.files}")
