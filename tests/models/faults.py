"""Faults inside a worker of a real model, by signals: put into its environment as sitecustomize.py.

Knows nothing of mlxd but the name of the function that chooses tokens.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
import threading
import time
from pathlib import Path

ABORT = signal.SIGRTMIN + 1
HOLD_GIL = signal.SIGRTMIN + 2
STAND_STILL = signal.SIGRTMIN + 3
# The first time: nothing more can be allocated; the second time it can again.
LIMIT_MEMORY = signal.SIGRTMIN + 4
FAIL_ALLOCATION = signal.SIGRTMIN + 5
EAT_MEMORY = signal.SIGRTMIN + 6
_LONG_S = 60


def abort() -> None:
    """As Metal does when a command buffer fails: on a thread of its own."""
    threading.Thread(target=ctypes.CDLL(None).abort).start()


def hold_gil() -> None:
    """No other thread runs meanwhile, so that no ping is answered."""
    ctypes.PyDLL(None).sleep(_LONG_S)


def stand_still() -> None:
    """Pings are answered, but the engine does nothing."""
    time.sleep(_LONG_S)


def limit_memory() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    is_limited = soft != hard
    resource.setrlimit(resource.RLIMIT_AS, (hard if is_limited else pages * resource.getpagesize(), hard))


def fail_allocation() -> None:
    """The next step raises."""
    batch = sys.modules["workers.generation.batch"]
    sample = batch.sample

    def fail(*_arguments: object) -> None:
        batch.sample = sample
        raise MemoryError("injected")

    batch.sample = fail


def eat_memory() -> None:
    """Until the system ends this process; to be bounded by whoever asks."""
    eaten = []
    while True:
        eaten.append(b"x" * (1 << 24))


FAULTS = {
    EAT_MEMORY: eat_memory,
    ABORT: abort,
    HOLD_GIL: hold_gil,
    STAND_STILL: stand_still,
    LIMIT_MEMORY: limit_memory,
    FAIL_ALLOCATION: fail_allocation,
}

if __name__ == "sitecustomize":
    for number, fault in FAULTS.items():
        signal.signal(number, lambda _number, _frame, fault=fault: fault())
