"""Faults inside a worker of a real model, by signals: put into its environment as sitecustomize.py.

Knows nothing of mlxd but the names of the functions that choose tokens and that send what is new.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Signals that no worker has a use for; macOS has no SIGRTMIN.
ABORT = signal.SIGUSR1
HOLD_GIL = signal.SIGUSR2
STAND_STILL = signal.SIGHUP
# The first time: nothing more can be allocated; the second time it can again.
LIMIT_MEMORY = signal.SIGALRM
FAIL_ALLOCATION = signal.SIGVTALRM
EAT_MEMORY = signal.SIGPROF
# The next message that ends a request is not what it should be.
END_TWICE = signal.SIGWINCH
SPEAK_AFTER_THE_END = signal.SIGURG
NAME_ANOTHER = signal.SIGIO
LEAVE_OUT_THE_END = signal.SIGXCPU
_LONG_S = 60

# Sends what is new of requests to a frontend. Any: mlxd's packages are not on this path when it is read.
Send = Callable[[str, list[Any]], None]


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


def end_twice(send: Send, peer: str, news: list[Any]) -> None:
    """The whole message comes again."""
    send(peer, news)
    send(peer, news)


def speak_after_the_end(send: Send, peer: str, news: list[Any]) -> None:
    """The text that came with it comes again."""
    send(peer, news)
    send(peer, [item for item in news if not _is_end(item)])


def name_another(send: Send, peer: str, news: list[Any]) -> None:
    """All of it is about a request that nobody sent."""
    replace = sys.modules["msgspec"].structs.replace
    send(peer, [replace(item, id="0" * 32) for item in news])


def leave_out_the_end(send: Send, peer: str, news: list[Any]) -> None:
    """The text comes, and nothing after it."""
    send(peer, [item for item in news if not _is_end(item)])


def _is_end(item: object) -> bool:
    return type(item).__name__ == "Done"


def _tell(lie: Callable[[Send, str, list[Any]], None]) -> None:
    outbox = sys.modules["workers.outbox"].Outbox
    honest = outbox._send_events

    def send(self: object, peer: str, news: list[Any]) -> None:
        if not any(map(_is_end, news)):
            honest(self, peer, news)
            return
        outbox._send_events = honest
        lie(lambda to, items: honest(self, to, items), peer, news)

    outbox._send_events = send


LIES = {
    END_TWICE: end_twice,
    SPEAK_AFTER_THE_END: speak_after_the_end,
    NAME_ANOTHER: name_another,
    LEAVE_OUT_THE_END: leave_out_the_end,
}
FAULTS = {
    **{number: partial(_tell, lie) for number, lie in LIES.items()},
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
