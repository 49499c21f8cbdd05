"""Shows in a terminal what a model thinks before it answers: dim, and no part of the answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from plugins.cli.output import console
from plugins.cli.sanitize import Sanitizer

if TYPE_CHECKING:
    from rich.console import Console


class ThoughtView:
    """The thoughts of one answer, on stdout; shows nothing where that is no terminal."""

    def __init__(self, *, is_live: bool | None = None) -> None:
        self.is_live = sys.stdout.isatty() if is_live is None else is_live
        # None: no line of thoughts is open.
        self._console: Console | None = None
        self._sanitizer = Sanitizer()

    def write(self, text: str) -> None:
        """Show the next piece; control sequences never pass, as nobody asked for thoughts."""
        from rich.text import Text  # noqa: PLC0415  # Most models do not think.

        self._console = self._console or console()
        self._console.print(Text(self._sanitizer.feed(text), style="dim"), end="", soft_wrap=True)

    def close(self, *, is_answered: bool = False) -> None:
        """End the line of thoughts, if there is one; an empty line stands between them and the answer."""
        if self._console:
            self._console.print("\n" if is_answered else "")
            self._console = None
