"""Memory is read from what Linux and macOS say, and what they do not say is left out."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel import gauge
from kernel.events import Measured

MIB = 1024 * 1024
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gauge, "PROC", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_linux_counts_what_is_shared_once(proc: Path) -> None:
    write(
        proc / "7" / "smaps_rollup",
        "0000-7fff ---p 0 [rollup]\nRss:  9000 kB\nPss:  5000 kB\nPss_Anon: 1 kB\n",
    )
    write(proc / str(os.getpid()) / "smaps_rollup", "Rss: 90 kB\nPss:  50 kB\n")
    write(proc / "meminfo", "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:  40 kB\n")
    write(proc / "pressure" / "memory", "some avg10=12.50 avg60=1.00 avg300=0 total=5\nfull avg10=9.00\n")

    found = gauge.Gauge().measure([7])

    assert found == Measured({0: 50 * 1024, 7: 5000 * 1024}, available_bytes=40 * 1024, stall_percent=12.5)


def test_a_process_that_is_gone_and_a_system_that_says_nothing_are_left_out(proc: Path) -> None:
    write(proc / "pressure" / "memory", "")

    assert gauge.Gauge().measure([7]) == Measured()


def test_pss_is_not_read_again_of_a_large_process_that_stays_as_it_is(proc: Path) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    large = 10 * gauge.MAX_MOVED_BYTES // page
    write(proc / "7" / "statm", f"9 {large} 5\n")
    write(proc / "7" / "smaps_rollup", "Pss:  5000 kB\n")
    measuring = gauge.Gauge()

    assert measuring.measure([7]).memory_bytes[7] == 5000 * 1024
    write(proc / "7" / "smaps_rollup", "Pss:  1 kB\n")
    write(proc / "7" / "statm", f"9 {large + 3} 5\n")

    assert measuring.measure([7]).memory_bytes[7] == 5000 * 1024 + 3 * page
    write(proc / "7" / "statm", f"9 {2 * large} 5\n")
    assert measuring.measure([7]).memory_bytes[7] == 1024


def test_pss_is_read_now_and_then(proc: Path) -> None:
    write(proc / "7" / "statm", f"9 {gauge.MAX_MOVED_BYTES} 5\n")
    write(proc / "7" / "smaps_rollup", "Pss:  5000 kB\n")
    measuring = gauge.Gauge()
    measuring.measure([7])
    write(proc / "7" / "smaps_rollup", "Pss:  1 kB\n")

    found = [measuring.measure([7]).memory_bytes[7] for _ in range(gauge.MAX_USES)]

    assert found[:-1] == [5000 * 1024] * (gauge.MAX_USES - 1)
    assert found[-1] == 1024


def test_a_number_that_another_process_has_now_is_read_anew(proc: Path) -> None:
    write(proc / "7" / "statm", f"9 {gauge.MAX_MOVED_BYTES} 5\n")
    write(proc / "7" / "smaps_rollup", "Pss:  5000 kB\n")
    measuring = gauge.Gauge()
    measuring.measure([7])
    measuring.measure([])
    write(proc / "7" / "smaps_rollup", "Pss:  1 kB\n")

    assert measuring.measure([7]).memory_bytes[7] == 1024


@linux
def test_a_process_that_takes_memory_is_seen_to() -> None:
    before = gauge.Gauge().measure([]).memory_bytes[0]
    held = os.urandom(50 * MIB)

    after = gauge.Gauge().measure([]).memory_bytes[0]

    assert after - before == pytest.approx(len(held), abs=5 * MIB)


@pytest.mark.parametrize(("limit", "expected"), [("max", 1000), ("400", 400), ("2000", 1000), (None, 1000)])
def test_a_container_s_limit_is_the_machine(
    limit: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "memory.max"
    if limit:
        file.write_text(f"{limit}\n")
    monkeypatch.setattr(gauge, "CGROUP_LIMIT", file)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 100}.get)

    assert gauge.machine_bytes() == expected


# --- macOS, played ------------------------------------------------------------------------------


class RusageInfoV2(ctypes.Structure):
    """As sys/resource.h has it."""

    _fields_ = (
        ("ri_uuid", ctypes.c_uint8 * 16),
        ("ri_user_time", ctypes.c_uint64),
        ("ri_system_time", ctypes.c_uint64),
        ("ri_pkg_idle_wkups", ctypes.c_uint64),
        ("ri_interrupt_wkups", ctypes.c_uint64),
        ("ri_pageins", ctypes.c_uint64),
        ("ri_wired_size", ctypes.c_uint64),
        ("ri_resident_size", ctypes.c_uint64),
        ("ri_phys_footprint", ctypes.c_uint64),
        ("ri_proc_start_abstime", ctypes.c_uint64),
        ("ri_proc_exit_abstime", ctypes.c_uint64),
        ("ri_child_user_time", ctypes.c_uint64),
        ("ri_child_system_time", ctypes.c_uint64),
        ("ri_child_pkg_idle_wkups", ctypes.c_uint64),
        ("ri_child_interrupt_wkups", ctypes.c_uint64),
        ("ri_child_pageins", ctypes.c_uint64),
        ("ri_child_elapsed_abstime", ctypes.c_uint64),
        ("ri_diskio_bytesread", ctypes.c_uint64),
        ("ri_diskio_byteswritten", ctypes.c_uint64),
    )


def rusage(status: int) -> Callable[[int, int, object], int]:
    """A proc_pid_rusage that fills the whole struct; the C function must not write beyond our buffer."""

    def proc_pid_rusage(pid: int, flavor: int, buffer: object) -> int:
        assert (pid, flavor) == (7, 2)
        info = RusageInfoV2(ri_resident_size=1, ri_phys_footprint=123456789012, ri_proc_start_abstime=2)
        ctypes.memmove(buffer, ctypes.byref(info), ctypes.sizeof(info))  # type: ignore[arg-type]
        return status

    return proc_pid_rusage


def test_the_footprint_is_read_where_macos_writes_it() -> None:
    assert ctypes.sizeof(RusageInfoV2) == gauge.RUSAGE_INFO_BYTES
    assert gauge.footprint(rusage(0), 7) == 123456789012
    assert gauge.footprint(rusage(-1), 7) == 0


@pytest.mark.parametrize(("status", "expected"), [(0, 4), (-1, None)])
def test_the_pressure_level_is_read(status: int, expected: int | None) -> None:
    def sysctlbyname(name: bytes, value: object, size: object, new: object, new_size: int) -> int:
        assert (name, new, new_size) == (b"kern.memorystatus_vm_pressure_level", None, 0)
        ctypes.memmove(value, ctypes.byref(ctypes.c_uint32(4)), 4)  # type: ignore[arg-type]
        return status

    assert gauge.pressure_level(sysctlbyname) == expected


@pytest.mark.parametrize(
    ("memory_gib", "status", "limit_mib", "expected_gib"),
    [(24, 0, 0, 16), (24, -1, 0, 16), (64, 0, 0, 48), (64, 0, 57_344, 56), (16, 0, 65_536, 16)],
)
@pytest.mark.parametrize("number", [ctypes.c_uint32, ctypes.c_uint64])
def test_macos_says_what_the_gpu_may_have(
    memory_gib: int, status: int, limit_mib: int, expected_gib: int, number: Callable[[int], ctypes.c_uint64]
) -> None:
    def sysctlbyname(name: bytes, value: object, size: object, new: object, new_size: int) -> int:
        assert (name, new, new_size) == (b"iogpu.wired_limit_mb", None, 0)
        found = number(limit_mib)
        ctypes.memmove(value, ctypes.byref(found), ctypes.sizeof(found))  # type: ignore[arg-type]
        return status

    assert gauge.gpu_limit(sysctlbyname, memory_gib * 1024**3) == expected_gib * 1024**3


def test_macos_says_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some Pythons there know no SC_PHYS_PAGES."""

    def sysctlbyname(name: bytes, value: object, size: object, new: object, new_size: int) -> int:
        assert (name, new, new_size) == (b"hw.memsize", None, 0)
        ctypes.memmove(value, ctypes.byref(ctypes.c_uint64(64 * 1024**3)), 8)  # type: ignore[arg-type]
        return 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "sysconf", {}.__getitem__)
    monkeypatch.setattr(gauge, "_sysctl", lambda: sysctlbyname)

    assert gauge.machine_bytes() == 64 * 1024**3


def test_a_gpu_shares_the_memory_on_macos_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauge, "_sysctl", lambda: lambda *_: -1)
    monkeypatch.setattr(sys, "platform", "linux")
    on_linux = gauge.gpu_bytes(300)
    monkeypatch.setattr(sys, "platform", "darwin")

    assert (on_linux, gauge.gpu_bytes(300)) == (300, 200)


def test_macos_says_footprints_and_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(gauge, "_footprint", lambda pid: 5 if pid == 7 else 0)
    monkeypatch.setattr(gauge, "_sysctl", lambda: lambda *_: -1)

    assert gauge.Gauge().measure([7]) == Measured({7: 5})
