"""The text around a cursor, as a model is asked about it. Knows no editor."""

from __future__ import annotations

import re
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
    """The text around *place*.

    Where it begins stays the same over many keystrokes, so that the worker's prompt cache knows most of it:
    it is the start of a line, and moves on by half of *max_before* at a time.

    Args:
        max_before: Characters.
        max_after: Characters.
    """
    lines = document.lines
    line = lines[place.line]
    before = "".join([*_from(lines[: place.line], place.column, max_before), line[: place.column]])
    after, left = [line[place.column :]], max_after - len(line) + place.column
    for following in lines[place.line + 1 :]:
        if left <= 0:
            break
        after.append(following)
        left -= len(following)
    return Cursor(_LINE_END.sub("\n", before[-max_before:]), _LINE_END.sub("\n", "".join(after)[:max_after]))


def _from(lines: list[str], column: int, max_chars: int) -> list[str]:
    """Those of the lines before a cursor that are shown."""
    excess = sum(map(len, lines)) + column - max_chars
    if excess <= 0:
        return lines
    step = max(1, max_chars // 2)
    skipped = 0
    for number, line in enumerate(lines):
        # Up to the next multiple of a step.
        if skipped >= -(-excess // step) * step:
            return lines[number:]
        skipped += len(line)
    return []
