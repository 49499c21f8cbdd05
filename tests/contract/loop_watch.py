"""How long a door's loop stands still, in which nobody is answered; what the test does is not counted."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, NamedTuple

# Issue: also with bodies of 20 MB.
MAX_BLOCK_S = 0.05
TICK_S = 0.002
# Linux: nanoseconds of this thread on a processor, and waiting for one.
SCHEDULED = "/proc/thread-self/schedstat"

_is_doors: ContextVar[bool] = ContextVar("_is_doors", default=False)


def of_a_door() -> Context:
    """What runs in this context, and all that it starts, is a door's and not the test's."""
    context = copy_context()
    context.run(_is_doors.set, True)
    return context


class Times(NamedTuple):
    """Seconds that passed, and of this process's work."""

    wall_s: float
    cpu_s: float

    def since(self, began: Times) -> Times:
        return Times(self.wall_s - began.wall_s, self.cpu_s - began.cpu_s)


class LoopWatch:
    """The longest time between two turns of the loop in which this process was at work for a door."""

    def __init__(self, scheduled: int | None) -> None:
        self._scheduled = scheduled
        self._loop = asyncio.get_running_loop()
        self._longest_s = 0.0
        # Of that time, the callback that took most.
        self._slowest = ""
        self._begin()

    def check(self) -> None:
        """Fail if it was too long."""
        blamed = self._slowest or "a thread"
        assert self._longest_s <= MAX_BLOCK_S, f"stood still for {self._longest_s * 1e3:.0f} ms, in {blamed}"

    def stop(self) -> None:
        """Look at it no more."""
        self._next.cancel()

    # Any: what asyncio calls, with a callback of whatever type.
    def run(self, real: Any, handle: Any) -> None:
        """Run what is due, and note for whom that was."""
        began = _now()
        real(handle)
        took = _now().since(began)
        if not handle._context.get(_is_doors, False):
            # As if it had not been.
            self._began = Times(self._began.wall_s + took.wall_s, self._began.cpu_s + took.cpu_s)
        elif took.cpu_s > self._most_s:
            self._most_s, self._most = took.cpu_s, handle._callback

    def _begin(self) -> None:
        self._began, self._waited_s = _now(), self._waiting_s()
        self._most_s, self._most = 0.0, None
        self._next = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        took = _now().since(self._began)
        # Waiting for a processor is no fault of ours.
        waited_s = self._waiting_s() - self._waited_s
        block_s = min(took.wall_s - waited_s - TICK_S, took.cpu_s)
        if block_s > self._longest_s:
            self._longest_s, self._slowest = block_s, _name(self._most)
        self._begin()

    def _waiting_s(self) -> float:
        """For how long this thread has waited for a processor in all, where the system tells."""
        return 0.0 if self._scheduled is None else int(os.pread(self._scheduled, 64, 0).split()[1]) / 1e9


@contextmanager
def watched() -> Iterator[None]:
    """Watch the running loop, and fail behind the block if it stood still for too long."""
    scheduled = None
    with suppress(OSError):
        scheduled = os.open(SCHEDULED, os.O_RDONLY)
    # asyncio tells nobody what it spends a turn on.
    handle: Any = asyncio.Handle
    real = handle._run
    # It goes through all that pytest has: a frontend's own process has kept that out (transports/garbage.py).
    gc.disable()
    watch = LoopWatch(scheduled)
    handle._run = lambda self: watch.run(real, self)
    try:
        yield
    finally:
        handle._run = real
        watch.stop()
        gc.enable()
        if scheduled is not None:
            os.close(scheduled)
    watch.check()


def _now() -> Times:
    return Times(time.monotonic(), time.process_time())


# Any: whatever can be called.
def _name(callback: Any) -> str:
    """Not its repr: a task's has that of what it waited for, of megabytes."""
    owner = getattr(callback, "__self__", callback)
    if isinstance(owner, asyncio.Task):
        owner = owner.get_coro()
    return getattr(owner, "__qualname__", type(owner).__name__ if owner else "")
