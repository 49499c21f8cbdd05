"""An exclusive lock on a file among processes, waited for without blocking the loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

# Another process frees the lock without telling us; nobody notices a fifth of a second here.
POLL_S = 0.2


@contextlib.asynccontextmanager
async def locked(
    path: Path, *, timeout_s: float, on_wait: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Hold the lock of *path*; the system frees it when the holder dies.

    Calls *on_wait* once if somebody else, also in this process, holds it.

    Raises:
        TimeoutError: It was not free within *timeout_s*, seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _try(descriptor):
            on_wait()
            async with asyncio.timeout(timeout_s):
                while not _try(descriptor):  # noqa: ASYNC110 - no event tells that a file lock is free
                    await asyncio.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
