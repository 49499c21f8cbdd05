"""What can go wrong in a worker process, done on purpose: words that an echo model with `faults` obeys."""

from __future__ import annotations

import ctypes
import os
import threading
import time

# Longer than any test waits.
FOR_EVER_S = 3600


def strike(word: str) -> None:
    """Do to this process what *word* says; other words do nothing."""
    match word:
        case "CRASH":
            os.abort()
        case "CRASH_THREAD":
            # As Metal's runtime does when memory ends: on a thread where nobody can catch it.
            thread = threading.Thread(target=ctypes.CDLL(None).abort)
            thread.start()
            thread.join()
        case "SEGFAULT":
            ctypes.string_at(0)
        case "EXIT":
            os._exit(3)
        case "RAISE":
            raise RuntimeError("raised as told")
        case "ALLOCATE":
            # Until there is none: MemoryError, or the system kills us. To be bounded by whoever asks.
            hoard = []
            while True:
                hoard.append(b"x" * (1 << 24))
        case "HANG":
            time.sleep(FOR_EVER_S)
        case "HANG_GIL":
            # A library that computes without end in C: no other thread of ours gets its turn.
            ctypes.PyDLL(None).sleep(FOR_EVER_S)
