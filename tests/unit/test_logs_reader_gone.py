"""Logging never fails the work that is logged."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

from transports import logs


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_log_without_a_reader_does_not_fail() -> None:
    """The kernel reads our stderr; when it dies, streams must still be told."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = os.fdopen(write_end, "w", buffering=1)
    logs.configure("info", "text", "test", stream)

    structlog.get_logger().info("told_nobody")

    with pytest.raises(BrokenPipeError):
        stream.write("a stream of its own fails\n")
    with pytest.raises(BrokenPipeError):
        stream.close()
