"""The kernel's lines on stderr, written by a thread: a pipe that nobody reads stops no loop."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time

from transports.logs import get_logger

# Lines that the reader may be behind; more are dropped.
MAX_PENDING_LINES = 1000
# For what is pending when the kernel ends.
CLOSE_TIMEOUT_S = 0.5

log = get_logger()


class Stderr:
    """Takes text without waiting; the log says how much of it was dropped once its reader is back."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # None ends the thread.
        self._pending: queue.Queue[str | None] = queue.Queue(MAX_PENDING_LINES)
        self._lock = threading.Lock()
        self._num_dropped = 0
        # It may wait for a reader for ever, also when the kernel ends.
        self._thread = threading.Thread(target=self._write_all, name="stderr", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Have *text* written, or drop it."""
        try:
            self._pending.put_nowait(text)
        except queue.Full:
            with self._lock:
                self._num_dropped += 1

    def close(self) -> None:
        """Wait until what is pending is written, for at most CLOSE_TIMEOUT_S."""
        end_s = time.monotonic() + CLOSE_TIMEOUT_S
        with contextlib.suppress(queue.Full):
            self._pending.put(None, timeout=CLOSE_TIMEOUT_S)
        self._thread.join(max(0.0, end_s - time.monotonic()))
        self._tell_dropped()

    def _write_all(self) -> None:
        while (text := self._pending.get()) is not None:
            self._write(text.encode(errors="backslashreplace"))
            self._tell_dropped()

    def _write(self, data: bytes) -> None:
        """Write to the descriptor itself: Python's own stream would be waited for at exit."""
        # A closed terminal is no reason to fail.
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]

    def _tell_dropped(self) -> None:
        with self._lock:
            num_lines, self._num_dropped = self._num_dropped, 0
        if num_lines:
            log.warning("stderr_lines_dropped", num_lines=num_lines, process="kernel")
