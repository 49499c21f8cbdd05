"""Threads for calls that block, all started with the kernel: later the system may not give any."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

# As many as asyncio's own executor may have.
NUM_THREADS = min(32, (os.cpu_count() or 1) + 4)


def started_threads(num_threads: int = NUM_THREADS) -> ThreadPoolExecutor:
    """An executor that has all its threads, if the system gives them."""
    executor = ThreadPoolExecutor(num_threads, "blocking")
    # Each call waits for all others, so that each has a thread of its own.
    everybody = threading.Barrier(num_threads)
    try:
        for _ in range(num_threads):
            executor.submit(everybody.wait)
    except RuntimeError:
        # It gave some of them.
        everybody.abort()
    return executor
