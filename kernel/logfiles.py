"""Log files of the kernel and its children, written by a thread so that the loop never waits for a disk."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import queue
import re
from pathlib import Path

from kernel.stderr import Stderr

# Lines that the disk may be behind; more are dropped.
MAX_PENDING_LINES = 10_000


class LogFiles:
    """One bounded file a process in a folder; one older file of each is kept."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._files: dict[str, logging.handlers.RotatingFileHandler] = {}
        self._pending: queue.Queue[logging.LogRecord] = queue.Queue(MAX_PENDING_LINES)
        self._writer = _Writer(self._pending, self._files)
        self._writer.start()

    def write(self, process: str, line: str) -> None:
        """Append a line to the file of *process*."""
        if process not in self._files:
            handler = logging.handlers.RotatingFileHandler(
                self._folder / f"{_file_name(process)}.log",
                maxBytes=self._max_bytes,
                backupCount=1,
                encoding="utf-8",
                delay=True,
            )
            # A full disk ends no server.
            handler.handleError = _ignore  # type: ignore[method-assign, assignment]
            self._files[process] = handler
        record = logging.LogRecord(process, logging.INFO, "", 0, line, None, None)
        with contextlib.suppress(queue.Full):
            self._pending.put_nowait(record)

    def end(self, process: str) -> None:
        """Close the file of *process* once its lines are written; another line opens it again."""
        if process in self._files:
            with contextlib.suppress(queue.Full):
                self._pending.put_nowait(_End(process, logging.INFO, "", 0, "", None, None))

    def close(self) -> None:
        """Write what is pending and close the files."""
        self._writer.stop()
        for handler in self._files.values():
            handler.close()


class _End(logging.LogRecord):
    """In the place of a line: there are no more."""


class _Writer(logging.handlers.QueueListener):
    def __init__(
        self, pending: queue.Queue[logging.LogRecord], files: dict[str, logging.handlers.RotatingFileHandler]
    ) -> None:
        super().__init__(pending)
        self._files = files

    def handle(self, record: logging.LogRecord) -> None:
        file = self._files[record.name]
        if isinstance(record, _End):
            file.close()
        else:
            file.emit(record)


class Tee:
    """A text stream for structlog: stderr and the kernel's own log file."""

    def __init__(self, files: LogFiles, stderr: Stderr) -> None:
        self._files = files
        self._stderr = stderr

    def write(self, text: str) -> int:
        """Have it written to both."""
        self._stderr.write(text)
        if line := text.rstrip("\n"):
            self._files.write("kernel", line)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back here; the threads write as soon as they can."""


def _file_name(process: str) -> str:
    """A process name holds a model's name; a file name must not hold its slashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", process)[:120]


def _ignore(_: logging.LogRecord) -> None:
    pass
