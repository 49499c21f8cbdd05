"""An exclusive lock on a file or folder among processes, waited for with a limit."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

# Another process frees the lock without telling us; nobody notices a fifth of a second here.
POLL_S = 0.2


@contextlib.asynccontextmanager
async def locked(
    path: Path, *, timeout_s: float, on_wait: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Hold the lock of *path* without blocking the loop; the system frees it when the holder dies.

    Calls *on_wait* once if somebody else, also in this process, holds it.

    Args:
        path: A folder, or a file that is made if there is none.

    Raises:
        TimeoutError: It was not free within *timeout_s*, seconds.
    """
    with _opened(path) as descriptor:
        if not _try(descriptor):
            on_wait()
            async with asyncio.timeout(timeout_s):
                while not _try(descriptor):  # noqa: ASYNC110 - no event tells that a file lock is free
                    await asyncio.sleep(POLL_S)
        yield


@contextlib.contextmanager
def locked_blocking(path: Path, *, timeout_s: float) -> Iterator[None]:
    """As `locked`, where there is no loop."""
    with _opened(path) as descriptor:
        ends_s = time.monotonic() + timeout_s
        while not _try(descriptor):
            if time.monotonic() > ends_s:
                raise TimeoutError
            time.sleep(POLL_S)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
