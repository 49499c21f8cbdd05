"""Measures the memory of an NVIDIA GPU: of processes as its driver charges them, and what is left.

In a container a driver may not tell which processes are ours: their pids are another namespace's, or it lists
none. Then what the whole GPU has more than before is taken to be the worker's that came last.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from threading import Lock

from kernel.nvidia import Gpu

# For the measuring before this one, in another thread; the driver takes less than a millisecond.
MAX_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What was found; nothing where the driver says nothing."""

    # By pid; those without any are left out.
    memory_bytes: Mapping[int, int] = field(default_factory=dict)
    free_bytes: int | None = None


class GpuGauge:
    """Measures again and again."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        # A driver that hangs keeps the thread that asked it, and no other.
        self._lock = Lock()
        self._is_told = False
        # As far as they are not told: by pid, the worker that came last at the end.
        self._guessed: dict[int, int] = {}
        self._used_bytes: int | None = None

    def measure(self, pids: Collection[int]) -> GpuReading:
        """Memory of these processes, which use the GPU, and of the GPU."""
        if not self._lock.acquire(timeout=MAX_WAIT_S):
            return GpuReading()
        try:
            return self._measure(pids)
        finally:
            self._lock.release()

    def _measure(self, pids: Collection[int]) -> GpuReading:
        memory = self._gpu.memory()
        if memory is None:
            return GpuReading()
        told = {pid: num_bytes for pid, num_bytes in self._gpu.process_bytes().items() if pid in pids}
        # Once one was found the others will be too, as soon as they have something.
        self._is_told = self._is_told or bool(told)
        guessed = self._guess(pids, memory.used)
        return GpuReading(told if self._is_told else guessed, memory.free)

    def _guess(self, pids: Collection[int], used_bytes: int) -> dict[int, int]:
        left = {pid: num_bytes for pid, num_bytes in self._guessed.items() if pid in pids}
        before_bytes = used_bytes if self._used_bytes is None else self._used_bytes
        moved_bytes = used_bytes - before_bytes + sum(self._guessed.values()) - sum(left.values())
        self._guessed = left | {pid: 0 for pid in pids if pid not in left}
        self._used_bytes = used_bytes
        if self._guessed:
            youngest = next(reversed(self._guessed))
            self._guessed[youngest] = max(0, self._guessed[youngest] + moved_bytes)
        return {pid: num_bytes for pid, num_bytes in self._guessed.items() if num_bytes}
