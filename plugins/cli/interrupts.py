"""Ctrl-C while modules are imported. Imports nothing slow itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# 128 + SIGINT: what a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Ctrl-C ends this process while the block lasts, in which nothing is begun that must be ended.

    KeyboardInterrupt may be raised in a callback of the import system: Python prints that it ignored it, and
    the command would go on.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # Ignored, as in a shell's background job.
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
