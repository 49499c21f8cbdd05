"""structlog set-up for every process: one line an event on stderr, control characters escaped."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Protocol, TextIO, cast


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """structlog imports rich for coloured tracebacks, which we never print: 80 ms of each process's start."""
    if "rich" in sys.modules:
        yield
        return
    # None makes its import fail, which structlog is prepared for.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["rich"]


with _without_rich():
    import structlog

# Modules take it from here, so that structlog is imported as above.
get_logger = structlog.get_logger


class Stream(Protocol):
    """What structlog needs of a text stream."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> None:
        """Let it out."""


class _Surviving:
    """A stream that may lose its reader: a kernel that died, say. Lines are lost then, the work goes on."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, text: str, /) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, format_: str, process: str, stream: Stream | None = None) -> None:
    """Log events of *level* and above, each bound to the name of this process.

    Args:
        level: "debug", "info", "warning" or "error".
        format_: "text" (key=value) or "json".
        process: Goes into each event.
        stream: Where to; stderr if None.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        # repr of each value: a newline or escape in a model name stays on its line.
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"], bool_as_flag=False
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Surviving(stream or sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def _escape(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Make control characters visible; a log line is read in a terminal."""
    return {
        key: value if str(value).isprintable() else ascii(str(value))[1:-1] for key, value in event.items()
    }
