"""What the kernel writes to stderr is never waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from kernel.stderr import CLOSE_TIMEOUT_S, MAX_PENDING_LINES, Stderr

LINE = "x" * 1000 + "\n"
# What a pipe holds, and more.
NUM_LINES = MAX_PENDING_LINES + 200


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_what_nobody_reads_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    with capture_logs() as events:
        # Its thread outlives the test: nobody else may get that number.
        stderr = Stderr(os.dup(pipe[1]))
        for _ in range(NUM_LINES):
            stderr.write(LINE)
        began_s = time.monotonic()
        stderr.close()

    assert time.monotonic() - began_s < CLOSE_TIMEOUT_S + 1
    (told,) = [event for event in events if event["event"] == "stderr_lines_dropped"]
    assert 0 < told["num_lines"] <= 200


def test_what_is_pending_at_the_end_is_written(pipe: tuple[int, int]) -> None:
    stderr = Stderr(pipe[1])

    stderr.write("first\n")
    stderr.write("second\n")
    stderr.close()

    assert b"first\nsecond\n" == os.read(pipe[0], 100)


def test_a_reader_that_is_gone_stops_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    stderr = Stderr(write_end)

    stderr.write(LINE)
    stderr.close()

    os.close(write_end)
