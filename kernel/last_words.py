"""The last lines that a process wrote on stderr, to tell why it ended. Knows no processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import takewhile

MAX_LINES = 20
# Of each; they travel in messages.
MAX_CHARACTERS = 500
# With these words Python's faulthandler begins; the calls that it names follow, the innermost first.
_FATAL = "Fatal Python error: "
# Of the calls so many; the log file has all.
MAX_CALLS = 10
_CALL = "  "
# Last of all it names every module in C, a long line.
_MODULES = "Extension modules: "


class LastWords:
    """Takes one line after the other; keeps the last ones."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        # None: nothing fatal was said.
        self._num_calls: int | None = None

    def add(self, line: str) -> None:
        """The process wrote *line*; empty ones say nothing."""
        if line.startswith(_FATAL):
            self._num_calls = 0
        elif self._num_calls is not None and line.startswith(_CALL):
            self._num_calls += 1
            if self._num_calls > MAX_CALLS:
                return
        if line and not (self._num_calls is not None and line.startswith(_MODULES)):
            self._lines.append(line[:MAX_CHARACTERS])

    def lines(self) -> tuple[str, ...]:
        """What is kept, in order."""
        return tuple(self._lines)


def reason_in(lines: Sequence[str]) -> str:
    """The line that most likely says why it ended; "" if there is none.

    It is the last one, or what was said before Python told where it was: a library's own words.
    """
    said = list(takewhile(lambda line: not line.startswith(_FATAL), lines))
    return said[-1] if said else ""
