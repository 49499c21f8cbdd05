"""What a worker's C library keeps goes back to the system."""

from __future__ import annotations

import platform

import psutil
import pytest

from workers.heap import give_back_freed

NUM_BLOCKS = 20_000
# Larger than what Python has its own allocator for, smaller than what glibc gives back by itself.
BLOCK_BYTES = 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such call")
def test_memory_that_was_freed_goes_back() -> None:
    process = psutil.Process()
    blocks = [bytes(BLOCK_BYTES) for _ in range(NUM_BLOCKS)]
    # At the end of the heap something stays.
    kept = [blocks.pop() for _ in range(100)]
    blocks.clear()
    before_bytes = process.memory_info().rss

    give_back_freed()

    assert before_bytes - process.memory_info().rss > NUM_BLOCKS * BLOCK_BYTES / 2
    assert kept
