"""Measures memory: of processes as the system charges them, and of the machine. Blocks: call it in a thread.

Linux: PSS, which counts what processes share once. macOS: phys_footprint, which Activity Monitor shows.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from kernel.events import Measured

PROC = Path("/proc")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
KIB = 1024
# sys/resource.h: struct rusage_info_v2 begins with a uuid of 16 bytes; ri_phys_footprint is the eighth
# number of 64 bits after it.
RUSAGE_INFO_V2 = 2
RUSAGE_INFO_BYTES = 16 + 8 * 18
FOOTPRINT_OFFSET = 16 + 8 * 7
PRESSURE_LEVEL = b"kern.memorystatus_vm_pressure_level"


def measure(pids: Iterable[int]) -> Measured:
    """Memory of processes, our own under 0, and of the system; what cannot be read is left out."""
    of_process = _footprint if sys.platform == "darwin" else _pss
    found = {pid: of_process(pid or os.getpid()) for pid in (0, *pids)}
    memory_bytes = {pid: num_bytes for pid, num_bytes in found.items() if num_bytes}
    if sys.platform == "darwin":
        return Measured(memory_bytes, pressure_level=pressure_level(_sysctl()))
    return Measured(
        memory_bytes,
        available_bytes=_available_bytes(PROC / "meminfo"),
        stall_percent=_stall_percent(PROC / "pressure" / "memory"),
    )


def machine_bytes() -> int:
    """Memory of the machine, or of the container that we are in."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(physical, int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # No cgroup, or "max".
        return physical


# --- Linux --------------------------------------------------------------------------------------


def _pss(pid: int) -> int:
    return _kib_field(PROC / str(pid) / "smaps_rollup", "Pss:") or 0


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
    level = ctypes.c_uint32()
    size = ctypes.c_size_t(ctypes.sizeof(level))
    if sysctlbyname(PRESSURE_LEVEL, ctypes.byref(level), ctypes.byref(size), None, 0) != 0:
        return None
    return level.value
