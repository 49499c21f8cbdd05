"""The folder through which frontends hand pixels to workers: made, swept and removed by the kernel.

Each frontend has a folder of its own in it, for as long as the kernel knows the frontend.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import sys
from pathlib import Path

from transports.errors import ConfigError
from transports.logs import get_logger
from transports.pixels import folder_name

log = get_logger()

# POSIX shared memory; on Linux a tmpfs, where what is written never sees a disk.
MEMORY = Path("/dev/shm")  # noqa: S108
# Begins the name of a folder that is being removed; a frontend's has hexadecimal digits only.
GONE = "gone-"


class SharedFolder:
    """The shared folder of a running kernel: in memory if there is a place, else in its run directory."""

    def __init__(self, run_dir: Path) -> None:
        """Make it, or take over what a killed kernel left, which is removed.

        Args:
            run_dir: Of this kernel, which holds its lock.

        Raises:
            ConfigError: It cannot be made.
        """
        self.path, self._lock = _take_first(_places(run_dir))
        for left in self.path.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        if self.path.parent == MEMORY:
            _sweep_memory()

    def add(self, peer: str) -> None:
        """Make the folder of a frontend that has come; without one it sends pixels in messages."""
        try:
            (self.path / folder_name(peer)).mkdir(mode=0o700)
        except OSError as e:
            log.warning("shared_folder_failed", reason=e.strerror)

    def drop(self, peer: str) -> Path | None:
        """Take the folder of a frontend that has gone out of its reach, at once.

        Returns:
            What is to be removed, which may take a while; None when there was none.
        """
        gone = self.path / f"{GONE}{secrets.token_hex(8)}"
        try:
            return (self.path / folder_name(peer)).rename(gone)
        except OSError:
            return None

    def close(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _places(run_dir: Path) -> tuple[Path, ...]:
    inside = run_dir / "shared"
    if sys.platform != "linux":
        return (inside,)
    return (MEMORY / f"{_prefix()}{hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:16]}", inside)


def _prefix() -> str:
    """How the names of this user's folders in memory begin."""
    return f"mlxd-{os.geteuid()}-"


def _sweep_memory() -> None:
    """Remove what killed kernels left that will not be started again; those that live hold their locks."""
    for path in MEMORY.glob(f"{_prefix()}*"):
        with contextlib.suppress(OSError):
            lock = _take(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _take_first(paths: tuple[Path, ...]) -> tuple[Path, int]:
    reason = ""
    for path in paths:
        try:
            return path, _take(path)
        except OSError as e:
            reason = f"{path}: {e.strerror}"
    raise ConfigError(f"{reason}; remove it, or set MLXD_HOME to a folder that you can write to")


def _take(path: Path) -> int:
    """Make a folder or take over one that nobody uses; the descriptor that holds its lock."""
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # The lock of the run directory is not enough: containers may share memory and nothing else.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user")
        # Another kernel may have swept it just before we had the lock.
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(errno.ENOENT, "it was removed")
        os.fchmod(descriptor, stat.S_IRWXU)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
