"""Where in a line a position of LSP is, in the code units that both sides agreed on."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Encoding(Enum):
    """LSP 3.17, PositionEncodingKind: what `Position.character` counts."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    UTF_32 = "utf-32"


# Encoding -> Python's name for it, and bytes a code unit.
_CODECS = {Encoding.UTF_8: ("utf-8", 1), Encoding.UTF_16: ("utf-16-le", 2), Encoding.UTF_32: ("utf-32-le", 4)}


def agreed(offered: Sequence[str] | None) -> Encoding:
    """The first of the editor's encodings that we know; UTF-16 if it says nothing, as LSP has it."""
    known = {one.value: one for one in Encoding}
    return next((known[one] for one in offered or () if one in known), Encoding.UTF_16)


def index_at(line: str, units: int, encoding: Encoding) -> int:
    """The index of the character at *units*; at most the length of *line*.

    Within a character that takes several units it is the index of that character.
    """
    if line.isascii() or encoding is Encoding.UTF_32:
        return min(units, len(line))
    codec, size = _CODECS[encoding]
    return len(line.encode(codec, "surrogatepass")[: units * size].decode(codec, "ignore"))


def units_at(line: str, index: int, encoding: Encoding) -> int:
    """How many code units come before the character at *index*."""
    before = line[:index]
    if before.isascii() or encoding is Encoding.UTF_32:
        return len(before)
    codec, size = _CODECS[encoding]
    return len(before.encode(codec, "surrogatepass")) // size
