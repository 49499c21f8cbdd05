"""The private directory of a running kernel: its lock, its socket and how to reach it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import IO

import msgspec

from transports.errors import ConfigError

# sockaddr_un holds 107 bytes on Linux and 103 on macOS; our longest name in the directory is "kernel.sock".
MAX_SOCKET_PATH_BYTES = 103
LOCK_TRIES = 10
LOCK_RETRY_S = 0.02


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer that the kernel did not start needs to reach it; the content of connection.json."""

    endpoint: str
    token: str
    pid: int
    version: str


def locate(home: Path) -> Path:
    """Where the run directory of *home* is; a short path elsewhere when home's is too long for a socket."""
    inside = home / "run"
    if len(os.fsencode(inside / "kernel.sock")) <= MAX_SOCKET_PATH_BYTES:
        return inside
    name = f"mlxd-{os.getuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    elsewhere = Path(tempfile.gettempdir()) / name
    if len(os.fsencode(elsewhere / "kernel.sock")) <= MAX_SOCKET_PATH_BYTES:
        return elsewhere
    # TMPDIR itself is too long. A directory of another user there is refused by `create`.
    return Path("/tmp") / name  # noqa: S108


def create(home: Path) -> Path:
    """Make the run directory, readable by this user alone.

    Raises:
        ConfigError: It cannot be made, is a link, or belongs to somebody else.
    """
    path = locate(home)
    _make_private(path)
    return path


def _make_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
            raise ConfigError(f"{path}: expected a directory of this user; remove it or set MLXD_HOME")
        path.chmod(0o700)
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}; set MLXD_HOME to a folder that you can write to") from None


class Lock:
    """The exclusive right to be the kernel of a run directory; freed by the system when the holder dies."""

    def __init__(self, run_dir: Path) -> None:
        """Take the lock.

        Raises:
            ConfigError: Another kernel holds it.
        """
        path = run_dir / "kernel.lock"
        pid = "?"
        for _ in range(LOCK_TRIES):
            # A kernel that ends removes the directory, perhaps just after we made it.
            _make_private(run_dir)
            with contextlib.suppress(FileNotFoundError):
                self._file = path.open("a+")
                if self._take(path):
                    return
                self._file.seek(0)
                pid = self._file.read(32).strip() or "?"
                self._file.close()
            # `read_connection` holds it too, for a moment.
            time.sleep(LOCK_RETRY_S)
        raise ConfigError(f"{run_dir}: a kernel is running here already (pid {pid}); `mlxd stop` ends it")

    def _take(self, path: Path) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A kernel that ended just now has removed the file that we opened.
            if not os.path.samestat(os.fstat(self._file.fileno()), path.stat()):
                return False
        except OSError:
            return False
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()


def write_connection(run_dir: Path, connection: Connection) -> None:
    """Publish how to reach the kernel: mode 0600, complete or not there at all."""
    temporary = run_dir / f".connection-{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(connection))
    temporary.replace(run_dir / "connection.json")


def read_connection(home: Path) -> Connection | None:
    """How to reach the kernel of *home*; None when none runs."""
    run_dir = locate(home)
    try:
        with (run_dir / "kernel.lock").open("r") as lock:
            if not _is_held(lock):
                return None
            connection = msgspec.json.decode((run_dir / "connection.json").read_bytes(), type=Connection)
            # A kernel that starts holds the lock already, beside the file that a killed one left.
            return connection if lock.read().strip() == str(connection.pid) else None
    except (OSError, msgspec.DecodeError):
        return None


def is_taken(home: Path) -> bool:
    """Whether a kernel lives for *home*, also one that cannot be reached yet, or any more."""
    try:
        with (locate(home) / "kernel.lock").open("r") as lock:
            return _is_held(lock)
    except OSError:
        return False


def _is_held(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def clear(run_dir: Path) -> None:
    """Remove what a kernel leaves in its run directory, and the directory if that empties it."""
    # Folders of links, which are not followed.
    shutil.rmtree(run_dir / "packages", ignore_errors=True)
    # The lock last: from then on the directory may be another kernel's.
    for name in ("kernel.sock", "connection.json", "kernel.lock"):
        (run_dir / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run_dir.rmdir()
