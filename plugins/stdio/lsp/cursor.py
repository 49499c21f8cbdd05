"""The text around a cursor, as a model is asked about it. Knows no editor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from plugins.stdio.lsp.documents import Document, Place

_WORD_BEFORE = re.compile(r"\w*\Z")
_LINE_END = re.compile(r"\r\n?")


@dataclass(frozen=True, slots=True)
class Cursor:
    """What stands before and after a place in a document; lines end with \\n."""

    before: str
    after: str

    @property
    def rest(self) -> str:
        """What follows on the same line."""
        return self.after.partition("\n")[0]

    @property
    def word(self) -> str:
        """The letters, digits and underscores right before it."""
        match = _WORD_BEFORE.search(self.before)
        return match[0] if match else ""

    @property
    def stops(self) -> tuple[str, ...]:
        """Where an answer ends: with the line if more follows on it, else with the paragraph."""
        return ("\n",) if self.rest.strip() else ("\n\n",)


def cursor_at(document: Document, place: Place, max_before: int, max_after: int) -> Cursor:
    """The text around *place*; takes no longer in a long document.

    Where it begins stays the same over many keystrokes, so that the worker's prompt cache knows most of it.

    Args:
        max_before: Characters.
        max_after: Characters.
    """
    lines = document.lines
    line = lines[place.line]
    earlier = [lines[number] for number in range(_first_line(lines, place, max_before), place.line)]
    before = "".join([*earlier, line[: place.column]])
    after, left = [line[place.column :]], max_after - len(line) + place.column
    for number in range(place.line + 1, len(lines)):
        if left <= 0:
            break
        after.append(lines[number])
        left -= len(lines[number])
    return Cursor(_LINE_END.sub("\n", before[-max_before:]), _LINE_END.sub("\n", "".join(after)[:max_after]))


def _first_line(lines: Sequence[str], place: Place, max_chars: int) -> int:
    """The first of the lines before a cursor that are shown.

    Of those from which on at least half of *max_chars* are shown, the one with the roundest number: typing
    moves the others in and out of the limit, but rarely that one.
    """
    first, shown = place.line, place.column
    enough = []
    for number in range(place.line - 1, -1, -1):
        shown += len(lines[number])
        if shown > max_chars:
            break
        first = number
        if shown >= max_chars // 2:
            enough.append(number)
    return max(enough, key=_roundness, default=first)


def _roundness(number: int) -> float:
    """The largest power of two that divides it."""
    return number & -number or math.inf
