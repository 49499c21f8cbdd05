"""Measures memory: of processes as the system charges them, and of the machine. Blocks: call it in a thread.

Linux: PSS, which counts what processes share once. The system walks all pages of a process for it and stops
its allocations meanwhile (23 ms for 700 MB), so between readings what is resident tells how it changes.
macOS: phys_footprint, which Activity Monitor shows.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from kernel.events import Measured
from kernel.gpu_gauge import GpuGauge, GpuReading

PROC = Path("/proc")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
KIB = 1024
# sys/resource.h: struct rusage_info_v2 begins with a uuid of 16 bytes; ri_phys_footprint is the eighth
# number of 64 bits after it.
RUSAGE_INFO_V2 = 2
RUSAGE_INFO_BYTES = 16 + 8 * 18
FOOTPRINT_OFFSET = 16 + 8 * 7
# PSS is read again when a process has grown or shrunk by so much, and now and then: what is shared may have
# changed. Of a process that has less, it is read each time: that is cheap.
MAX_MOVED_BYTES = 32 * 1024 * 1024
MAX_USES = 12
MEMORY = b"hw.memsize"
PRESSURE_LEVEL = b"kern.memorystatus_vm_pressure_level"
# MiB of memory that the GPU may have at once, of all processes together; 0 leaves it to macOS.
GPU_LIMIT = b"iogpu.wired_limit_mb"
# What macOS decides then, as Metal's recommendedMaxWorkingSetSize tells it: three quarters from 36 GB on,
# else two thirds. Newer systems give more, 74 to 84 %, by no rule that we know.
LARGE_MACHINE_BYTES = 36 * 1024**3


@dataclass(slots=True)
class Reading:
    """What a process had when its PSS was read."""

    pss_bytes: int
    resident_bytes: int
    num_uses: int = 0

    def holds_for(self, resident_bytes: int) -> bool:
        """Whether it still tells PSS; each call uses it once."""
        self.num_uses += 1
        moved_bytes = abs(resident_bytes - self.resident_bytes)
        return self.num_uses < MAX_USES and moved_bytes < MAX_MOVED_BYTES <= resident_bytes


class Gauge:
    """Measures again and again.

    Args:
        gpu: For the memory of a GPU that has its own.
    """

    def __init__(self, gpu: GpuGauge | None = None) -> None:
        self._gpu = gpu
        self._readings: dict[int, Reading] = {}

    def measure(self, pids: Iterable[int], gpu_pids: Collection[int] = ()) -> Measured:
        """Memory of processes, our own under 0, and of the system; what cannot be read is left out.

        Args:
            pids: Of processes.
            gpu_pids: Those of them that use the GPU.
        """
        of_process = _footprint if sys.platform == "darwin" else self._charged
        found = {pid: of_process(pid or os.getpid()) for pid in (0, *pids)}
        memory_bytes = {pid: num_bytes for pid, num_bytes in found.items() if num_bytes}
        if sys.platform == "darwin":
            return Measured(memory_bytes, pressure_level=pressure_level(_sysctl()))
        self._readings = {
            pid: reading for pid, reading in self._readings.items() if pid in found or pid == os.getpid()
        }
        gpu = self._gpu.measure(gpu_pids) if self._gpu else GpuReading()
        return Measured(
            memory_bytes,
            available_bytes=_available_bytes(PROC / "meminfo"),
            stall_percent=_stall_percent(PROC / "pressure" / "memory"),
            gpu_bytes=gpu.memory_bytes,
            gpu_free_bytes=gpu.free_bytes,
        )

    def _charged(self, pid: int) -> int:
        resident_bytes = _resident_bytes(pid)
        last = self._readings.get(pid)
        if last and last.holds_for(resident_bytes):
            return last.pss_bytes + resident_bytes - last.resident_bytes
        pss_bytes = _pss(pid)
        self._readings[pid] = Reading(pss_bytes, resident_bytes)
        return pss_bytes


def machine_bytes() -> int:
    """Memory of the machine, or of the container that we are in."""
    if sys.platform == "darwin":
        # Not by sysconf: there are Pythons for macOS that do not know SC_PHYS_PAGES.
        return _number(_sysctl(), MEMORY) or 0
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(physical, int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # No cgroup, or "max".
        return physical


def gpu_bytes(memory_bytes: int) -> int:
    """What the GPU may have of a machine's memory, where the two share it."""
    return gpu_limit(_sysctl(), memory_bytes) if sys.platform == "darwin" else memory_bytes


# --- Linux --------------------------------------------------------------------------------------


def _pss(pid: int) -> int:
    return _kib_field(PROC / str(pid) / "smaps_rollup", "Pss:") or 0


def _resident_bytes(pid: int) -> int:
    """RSS, of which the system keeps count; 0 when the process is gone."""
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _available_bytes(meminfo: Path) -> int | None:
    return _kib_field(meminfo, "MemAvailable:")


def _kib_field(file: Path, name: str) -> int | None:
    """A field of a file of lines like "Pss:   123 kB", in bytes."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1]) * KIB
    return None


def _stall_percent(pressure: Path) -> float | None:
    """Of the last ten seconds, the part in which some process waited for memory; None without PSI."""
    try:
        first = pressure.read_text().splitlines()[0]
    except (OSError, IndexError):
        return None
    fields = dict(field.partition("=")[::2] for field in first.split()[1:])
    return float(fields["avg10"]) if first.startswith("some ") and "avg10" in fields else None


# --- macOS --------------------------------------------------------------------------------------

# The C functions, typed as far as ctypes lets: (pid, flavor, buffer) and (name, value, size, new, new size).
ProcPidRusage = Callable[[int, int, object], int]
SysctlByName = Callable[[bytes, object, object, object, int], int]


def _footprint(pid: int) -> int:
    return footprint(ctypes.CDLL(None).proc_pid_rusage, pid)


def _sysctl() -> SysctlByName:
    function: SysctlByName = ctypes.CDLL(None).sysctlbyname
    return function


def footprint(proc_pid_rusage: ProcPidRusage, pid: int) -> int:
    """phys_footprint of a process; 0 when it cannot be had."""
    buffer = ctypes.create_string_buffer(RUSAGE_INFO_BYTES)
    if proc_pid_rusage(pid, RUSAGE_INFO_V2, ctypes.byref(buffer)) != 0:
        return 0
    return int.from_bytes(buffer.raw[FOOTPRINT_OFFSET : FOOTPRINT_OFFSET + 8], sys.byteorder)


def pressure_level(sysctlbyname: SysctlByName) -> int | None:
    """1 normal, 2 warning, 4 critical; None when macOS does not say."""
    return _number(sysctlbyname, PRESSURE_LEVEL)


def gpu_limit(sysctlbyname: SysctlByName, memory_bytes: int) -> int:
    """What macOS lets the GPU have; work that needs more fails, or takes the machine down with it."""
    if limit_mib := _number(sysctlbyname, GPU_LIMIT):
        return min(memory_bytes, limit_mib * KIB**2)
    return memory_bytes * 3 // 4 if memory_bytes >= LARGE_MACHINE_BYTES else memory_bytes * 2 // 3


def _number(sysctlbyname: SysctlByName, name: bytes) -> int | None:
    """What macOS has under a name; None when it has nothing."""
    # Of 32 or 64 bits, and little-endian: wide enough for both.
    number = ctypes.c_uint64()
    size = ctypes.c_size_t(ctypes.sizeof(number))
    if sysctlbyname(name, ctypes.byref(number), ctypes.byref(size), None, 0) != 0:
        return None
    return number.value
