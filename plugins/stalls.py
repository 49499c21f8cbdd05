"""Tells in the log when this process's event loop stands still, and where: nobody is answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Iterator

from transports.logs import get_logger

log = get_logger()

# A loop that takes longer for one thing is noticed by those who wait.
STALL_S = 0.8
# How often it is looked at; a stall is told of within a second.
PERIOD_S = 0.2
# Of the stack, the innermost.
NUM_FRAMES = 8


@contextlib.contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Watch the loop of the calling thread while the block lasts."""
    ended = threading.Event()
    arguments = (loop, threading.get_ident(), ended)
    thread = threading.Thread(target=_watch, args=arguments, name="stalls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _watch(loop: asyncio.AbstractEventLoop, thread_id: int, ended: threading.Event) -> None:
    while not ended.wait(PERIOD_S):
        turned = threading.Event()
        # The loop may have been closed just now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(turned.set)
            if turned.wait(STALL_S) or ended.is_set():
                continue
            log.warning("loop_stalled", after_s=STALL_S, at=_where(thread_id))
            while not (turned.wait(PERIOD_S) or ended.is_set()):
                pass


def _where(thread_id: int) -> str:
    """The innermost frames of a thread, on one line; names of code only, never values."""
    frame = sys._current_frames().get(thread_id)
    stack = traceback.extract_stack(frame)[-NUM_FRAMES:] if frame else []
    return " > ".join(f"{line.name} ({line.filename.rpartition('/')[2]}:{line.lineno})" for line in stack)
