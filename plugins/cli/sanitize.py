"""Removes terminal control sequences from text that a model wrote; pure.

A terminal obeys what it is shown: escape sequences change its title, write its clipboard (OSC 52),
hide links (OSC 8) or clear the screen, and bidi overrides show a command other than the one copied.
Whole sequences go, not only their first character. Newline and tab stay.
"""

from __future__ import annotations

import re
from typing import Literal

# ECMA-48: C0, DEL and C1 without tab and newline. Unicode: embeddings, overrides and isolates.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# A string sequence (OSC, DCS, ...) that does not end by then was none: the rest is shown again.
MAX_STRING_CHARACTERS = 4096

_ESC, _BEL, _CAN, _SUB = "\x1b", "\x07", "\x18", "\x1a"
_CSI, _STRING_END = "\x9b", "\x9c"
# DCS, SOS, OSC, PM, APC: everything up to the string terminator belongs to them.
_STRING_STARTS = frozenset("\x90\x98\x9d\x9e\x9f")

State = Literal["text", "escape", "csi", "string"]


class Sanitizer:
    """Cleans a text that arrives in pieces; a sequence may be split anywhere."""

    def __init__(self) -> None:
        self._state: State = "text"
        self._num_in_string = 0

    def feed(self, text: str) -> str:
        """The part of *text* that may be shown."""
        if self._state == "text" and not _FORBIDDEN.search(text):
            return text
        return "".join(c for c in text if self._is_shown(c))

    def _is_shown(self, c: str) -> bool:
        """Advance by one character, and say whether it is text."""
        if c == _ESC:
            # It breaks off what was before; inside a string it may begin the terminator ESC \.
            self._state = "escape"
            return False
        if self._state != "text" and c in (_CAN, _SUB):
            self._state = "text"
            return False
        match self._state:
            case "text":
                return self._starts_nothing(c)
            case "csi":
                return self._in_csi(c)
            case "escape":
                self._after_escape(c)
            case "string":
                self._in_string(c)
        # The newline that broke a sequence off is text.
        return c == "\n"

    def _starts_nothing(self, c: str) -> bool:
        if c == _CSI:
            self._state = "csi"
        elif c in _STRING_STARTS:
            self._start_string()
        return not _FORBIDDEN.match(c)

    def _after_escape(self, c: str) -> None:
        # ESC and a letter of columns 4-5 is the 7-bit form of a C1 character.
        c1 = chr(ord(c) + 0x40) if "@" <= c <= "_" else ""
        if c1 == _CSI:
            self._state = "csi"
        elif c1 in _STRING_STARTS:
            self._start_string()
        elif not " " <= c <= "/":  # Intermediate: the sequence goes on.
            self._state = "text"

    def _in_csi(self, c: str) -> bool:
        """Parameters and intermediates, then one final character; anything else breaks it off."""
        if " " <= c <= "?":
            return False
        self._state = "text"
        return not "@" <= c <= "~" and self._starts_nothing(c)

    def _start_string(self) -> None:
        self._state = "string"
        self._num_in_string = 0

    def _in_string(self, c: str) -> None:
        self._num_in_string += 1
        # A newline ends it too: no honest sequence holds one, and the answer must not vanish in it.
        if c in (_BEL, _STRING_END, "\n") or self._num_in_string >= MAX_STRING_CHARACTERS:
            self._state = "text"


def clean(text: str) -> str:
    """A whole text without control sequences."""
    return Sanitizer().feed(text)


def clean_line(text: str) -> str:
    """A name or message on one line without control sequences."""
    return " ".join(clean(text.replace("\r", "\n")).split())
