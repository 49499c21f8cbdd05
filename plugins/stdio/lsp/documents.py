"""The documents that an editor has open, kept in step with it: whole texts and edits. Knows no model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from plugins.stdio.lsp.positions import Encoding, index_at
from plugins.stdio.lsp.shapes import Change, Position

# Open at once; an editor that restores a large session has some hundreds.
MAX_DOCUMENTS = 2000
# Of all documents together, characters. What goes beyond is not kept: nothing is offered there.
MAX_CHARS = 64 * 1024 * 1024

# LSP 3.17, "Text Documents": lines end with \n, \r\n or \r, and with nothing else.
_ENDED_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position within a document: both exist."""

    line: int
    # Index of a character; at most the length of the line without its end.
    column: int


class Document:
    """The lines of one document, each with its end; the last has none, and may be empty."""

    def __init__(self, text: str) -> None:
        self.lines = _split(text)
        self.num_chars = len(text)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.lines)

    def place(self, position: Position, encoding: Encoding) -> Place:
        """The place nearest to *position*: editors may point behind the end of a line or document."""
        if position.line >= len(self.lines):
            return Place(len(self.lines) - 1, len(self.lines[-1]))
        line = self.lines[position.line].rstrip("\r\n")
        return Place(position.line, index_at(line, position.character, encoding))

    def apply(self, change: Change, encoding: Encoding) -> None:
        """Take an edit, or a whole new text."""
        if change.range is None:
            self.lines = _split(change.text)
            self.num_chars = len(change.text)
            return
        first, last = sorted(
            (self.place(change.range.start, encoding), self.place(change.range.end, encoding))
        )
        at = first.line
        old = self.lines[at : last.line + 1]
        text = old[0][: first.column] + change.text + old[-1][last.column :]
        self.num_chars += len(text) - sum(map(len, old))
        if text.startswith("\n") and at and self.lines[at - 1].endswith("\r"):
            # The two have become one line end.
            at -= 1
            text = self.lines[at] + text
        new = _split(text)
        if last.line < len(self.lines) - 1:
            # *text* ends with the end of its last line: what is after that is the next line.
            new.pop()
        self.lines[at : last.line + 1] = new


class Documents:
    """All open documents, by URI."""

    def __init__(self) -> None:
        # Set by `initialize`, before the first document.
        self.encoding = Encoding.UTF_16
        self._open: dict[str, Document] = {}
        self._num_chars = 0

    def open(self, uri: str, text: str) -> None:
        """Take a document that was opened; one that is open already begins anew."""
        self.close(uri)
        if len(self._open) < MAX_DOCUMENTS and self._num_chars + len(text) <= MAX_CHARS:
            self._open[uri] = Document(text)
            self._num_chars += len(text)

    def change(self, uri: str, changes: Iterable[Change]) -> None:
        """Take edits, in their order; those of a document that is not kept are ignored."""
        document = self._open.get(uri)
        if document is None:
            return
        before = document.num_chars
        for change in changes:
            document.apply(change, self.encoding)
        self._num_chars += document.num_chars - before
        if self._num_chars > MAX_CHARS:
            self.close(uri)

    def close(self, uri: str) -> None:
        """Forget a document."""
        if document := self._open.pop(uri, None):
            self._num_chars -= document.num_chars

    def get(self, uri: str) -> Document | None:
        """A document; None if it is not open, or too large to be kept."""
        return self._open.get(uri)


def _split(text: str) -> list[str]:
    lines = _ENDED_LINE.findall(text)
    lines.append(text[sum(map(len, lines)) :])
    return lines
