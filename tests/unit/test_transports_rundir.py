"""The run directory is private, has one kernel, and is found where a socket's path fits."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from transports import rundir
from transports.errors import ConfigError
from transports.rundir import MAX_SOCKET_PATH_BYTES, Connection, Lock

CONNECTION = Connection(endpoint="ipc:///x", token="t", pid=os.getpid(), version="1")


@pytest.fixture
def short() -> Iterator[Path]:
    """A home whose run directory is inside it."""
    with tempfile.TemporaryDirectory(prefix="m", dir="/tmp") as folder:
        path = Path(folder)
        assert rundir.locate(path) == path / "run"
        yield path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_user_may_enter(short: Path) -> None:
    assert mode(rundir.create(short)) == 0o700


def test_a_directory_that_was_open_is_closed(short: Path) -> None:
    (short / "run").mkdir(mode=0o777)
    (short / "run").chmod(0o777)

    assert mode(rundir.create(short)) == 0o700


def test_the_token_is_readable_by_its_user_alone(short: Path) -> None:
    old = os.umask(0)
    try:
        rundir.write_connection(rundir.create(short), CONNECTION)
    finally:
        os.umask(old)

    assert mode(short / "run" / "connection.json") == 0o600


def test_a_link_in_its_place_is_refused(short: Path) -> None:
    (short / "elsewhere").mkdir()
    (short / "run").symlink_to(short / "elsewhere")

    with pytest.raises(ConfigError, match="expected a directory of this user"):
        rundir.create(short)


@pytest.mark.parametrize(
    "make", [Path.touch, lambda path: path.symlink_to("/nowhere")], ids=["file", "dangling link"]
)
def test_something_else_in_its_place_is_refused(short: Path, make: object) -> None:
    make(short / "run")  # type: ignore[operator]

    with pytest.raises(ConfigError):
        rundir.create(short)


def test_a_link_at_the_temporary_file_is_not_followed(short: Path) -> None:
    run_dir = rundir.create(short)
    (run_dir / f".connection-{os.getpid()}").symlink_to(short / "victim")

    with pytest.raises(OSError, match="symbolic link"):
        rundir.write_connection(run_dir, CONNECTION)
    assert not (short / "victim").exists()


def test_a_long_path_moves_the_directory_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 120)

    path = rundir.locate(home)

    assert len(os.fsencode(path / "kernel.sock")) <= MAX_SOCKET_PATH_BYTES
    assert path == rundir.locate(home)
    assert path != rundir.locate(tmp_path / ("y" * 120))


def test_a_long_temporary_folder_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * 120)

    path = rundir.locate(tmp_path / ("x" * 120))

    assert len(os.fsencode(path / "kernel.sock")) <= MAX_SOCKET_PATH_BYTES


def test_a_second_kernel_is_told_the_pid_of_the_first(short: Path) -> None:
    run_dir = rundir.create(short)
    lock = Lock(run_dir)

    with pytest.raises(ConfigError, match=rf"running here already \(pid {os.getpid()}\)"):
        Lock(run_dir)

    lock.release()
    Lock(run_dir).release()


def test_the_lock_of_a_killed_kernel_is_free(short: Path) -> None:
    run_dir = rundir.create(short)
    program = f"""
import pathlib, time
from transports.rundir import Lock
lock = Lock(pathlib.Path({str(run_dir)!r}))
print("held", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError):
            Lock(run_dir)

        holder.kill()
        holder.wait()

        Lock(run_dir).release()


def test_a_kernel_that_ends_may_take_the_directory_from_one_that_starts(short: Path) -> None:
    run_dir = rundir.create(short)
    rundir.clear(run_dir)

    Lock(run_dir).release()

    assert mode(run_dir) == 0o700


def test_a_connection_is_read_while_its_kernel_lives(short: Path) -> None:
    run_dir = rundir.create(short)
    lock = Lock(run_dir)
    rundir.write_connection(run_dir, CONNECTION)

    assert rundir.read_connection(short) == CONNECTION

    lock.release()
    assert rundir.read_connection(short) is None


def test_what_a_killed_kernel_left_is_not_the_connection_of_the_next_one(short: Path) -> None:
    """The next one holds the lock for a moment before it has written its own."""
    run_dir = rundir.create(short)
    rundir.write_connection(run_dir, msgspec.structs.replace(CONNECTION, pid=os.getpid() + 1))
    lock = Lock(run_dir)

    assert rundir.read_connection(short) is None
    lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"endpoint": 1}'])
def test_a_damaged_connection_file_is_no_kernel(short: Path, content: bytes) -> None:
    run_dir = rundir.create(short)
    lock = Lock(run_dir)
    (run_dir / "connection.json").write_bytes(content)

    assert rundir.read_connection(short) is None
    lock.release()


def test_no_kernel_is_found_where_none_ever_ran(tmp_path: Path) -> None:
    assert rundir.read_connection(tmp_path) is None


def test_nothing_is_left_when_it_is_cleared(short: Path) -> None:
    run_dir = rundir.create(short)
    lock = Lock(run_dir)
    rundir.write_connection(run_dir, CONNECTION)
    (run_dir / "kernel.sock").touch()

    rundir.clear(run_dir)

    lock.release()
    assert not run_dir.exists()


def test_somebody_who_looks_for_a_moment_does_not_keep_a_kernel_from_starting(tmp_path: Path) -> None:
    with (tmp_path / "kernel.lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (looking, fcntl.LOCK_UN)).start()

        lock = rundir.Lock(tmp_path)

    lock.release()


def test_a_lock_on_a_file_that_was_removed_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, removals = fcntl.flock, [tmp_path / "kernel.lock"]

    def flock_after_removal(file: int, operation: int) -> None:
        if removals:
            removals.pop().unlink()
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_removal)
    first = rundir.Lock(tmp_path)

    with pytest.raises(ConfigError, match="running here already"):
        rundir.Lock(tmp_path)
    first.release()


def test_the_links_of_workers_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").touch()
    links = tmp_path / "run/packages/text"
    links.mkdir(parents=True)
    (links / "workers").symlink_to(tmp_path / "elsewhere")

    rundir.clear(tmp_path / "run")

    assert not (tmp_path / "run").exists()
    assert (tmp_path / "elsewhere/file").exists()
