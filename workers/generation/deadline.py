"""A deadline for foreign code that runs in the engine's thread."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# An exception may get lost in code that swallows it: it is raised again and again.
_AGAIN_S = 0.05


@contextmanager
def within(limit_s: float, error: Exception) -> Iterator[None]:
    """Raise *error* within when *limit_s* seconds are over.

    Without a signal there is no deadline, so only in the main thread; a worker's engine runs there. They do
    not nest.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deadline = time.monotonic() + limit_s

    def too_slow(_signal: int, _frame: FrameType | None) -> None:
        # A signal that is on its way when it is over finds no deadline.
        if is_running and time.monotonic() >= deadline:
            raise error

    is_running = True
    before = signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        yield
    finally:
        is_running = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
