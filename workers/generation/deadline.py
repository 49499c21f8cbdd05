"""A deadline for foreign code that runs in the engine's thread."""

from __future__ import annotations

import inspect
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

# An exception may get lost in code that swallows it, and a process stand still for longer than it computes:
# it is looked at again and again.
_AGAIN_S = 0.005

T = TypeVar("T")


def within(limit_s: float, error: Exception, work: Callable[[], T]) -> T:
    """What *work*, a function of Python, gives.

    Without a signal there is no deadline, so only in the main thread; a worker's engine runs there. They do
    not nest.

    Raises:
        Exception: *error*, within *work*, when it has taken *limit_s* seconds of the processor.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    deadline = time.thread_time() + limit_s
    # Not the frame itself: it would keep all that it has until the next collection.
    own, code = id(inspect.currentframe()), getattr(work, "__code__", None)

    def too_slow(_signal: int, frame: FrameType | None) -> None:
        # Behind *work* nobody waits for the error, and a process that has not run for a while finds the next
        # signal there already.
        while frame is not None and id(frame.f_back) != own:
            frame = frame.f_back
        if frame is not None and frame.f_code is code and time.thread_time() >= deadline:
            raise error

    before = signal.signal(signal.SIGALRM, too_slow)
    try:
        signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
