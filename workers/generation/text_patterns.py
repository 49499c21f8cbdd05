"""Patterns of JSON Schema as regular expressions of a grammar. Knows no llguidance."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Longer ones are data, and reading them takes quadratic time.
MAX_PATTERN_CHARS = 2000
_ANY = "(?s:.*)"
# ECMA's reading and Python's differ over other alphabets; what matches is taken by both, so that a class
# stands for less of them and its opposite, too.
_FEW = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\x0b\f\r\x20"}
_MANY = {"d": r"\d", "w": r"\w\p{N}", "s": r"\s\x1c-\x1f"}
_DOT = r"[^\n\r\u{2028}\u{2029}]"
_CONTROLS = {"n": r"\n", "r": r"\r", "t": r"\t", "f": r"\f", "v": r"\x0b", "0": r"\x00"}
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")
_REPEATED = re.compile(r"[*+?]|\{\d{1,5}(?:,\d{0,5})?\}")
_SURROGATES = range(0xD800, 0xE000)
_SPECIAL = frozenset(r"\.+*?()|[]{}^$#&-~/")


def found_in(pattern: str) -> str | None:
    """What stands for all texts in which *pattern* is found; None where a grammar cannot say that.

    It is for between the slashes of a terminal.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        return None
    try:
        re.compile(pattern)
        return _Reader(pattern).read()
    except (_Unknown, IndexError, RecursionError, OverflowError, re.error):
        return None


def without(texts: Iterable[str]) -> str:
    """A pattern of all texts in which none of *texts* is found.

    A grammar's JSON Schema has no lookahead, and no negation.

    Args:
        texts: Each begins with "<", and has no other one.
    """
    return f"^[^<]*(?:<{_unlike([text[1:] for text in texts])})*$"


def literal(text: str) -> str:
    """What stands for *text* itself, between slashes."""
    return "".join(map(_literal, text))


def _literal(character: str) -> str:
    if character < " ":
        return f"\\x{ord(character):02x}"
    return f"\\{character}" if character in _SPECIAL else character


def _unlike(ends: list[str]) -> str:
    """What may come after "<" and before the next one, so that it does not begin with one of *ends*."""
    following: dict[str, list[str]] = {}
    for end in ends:
        following.setdefault(end[0], []).append(end[1:])
    others = f"[^<{''.join(map(_literal, following))}][^<]*"
    ways = [f"{_literal(c)}{_unlike(rest)}" for c, rest in following.items() if "" not in rest]
    return f"(?:{'|'.join([others, *ways])})?"


class _Unknown(Exception):
    """Something that is no regular expression, or that is read in more than one way."""


class _Reader:
    """Takes a pattern that Python's `re` takes, a piece at a time."""

    def __init__(self, pattern: str) -> None:
        self._left = pattern
        self._depth = 0

    def read(self) -> str:
        alternatives = [self._alternative()]
        while self._left:
            self._take("|")
            alternatives.append(self._alternative())
        return f"(?:{'|'.join(alternatives)})"

    def _alternative(self) -> str:
        """One of those between which the whole pattern chooses: anchors are known at its ends."""
        begins = self._has("^")
        parts = [_ANY] if not begins else []
        ends = False
        while self._left and not (self._depth == 0 and self._left[0] == "|"):
            if ends:
                raise _Unknown
            if self._depth == 0 and self._has("$"):
                ends = True
                continue
            parts.append(self._piece())
        if self._depth:
            raise _Unknown
        return "".join(parts if ends else [*parts, _ANY])

    def _piece(self) -> str:
        first = self._next()
        if first == "(":
            if self._has("?"):
                self._take(":")
            self._depth += 1
            return "(?:"
        if first == "|":
            return "|"
        if first == ")":
            self._depth -= 1
            return ")" + self._repetition()
        if first in "^$*+?":
            raise _Unknown
        if first == "[":
            return self._class() + self._repetition()
        if first == ".":
            return _DOT + self._repetition()
        if first == "\\":
            kind = self._left[0]
            if kind.lower() in _FEW:
                self._next()
                own = f"[{_FEW[kind]}]" if kind in _FEW else f"[^{_MANY[kind.lower()]}]"
                return own + self._repetition()
            return self._escaped() + self._repetition()
        return _literal(first) + self._repetition()

    def _repetition(self) -> str:
        match = _REPEATED.match(self._left)
        if match is None:
            if self._left.startswith("{") and self._left[1:2] in (",", ""):
                # Python repeats, ECMA does not.
                raise _Unknown
            return ""
        self._left = self._left[match.end() :]
        # As few as possible or as many: the same texts.
        self._has("?")
        if self._left[:1] in ("*", "+") or _REPEATED.match(self._left):
            raise _Unknown
        return match[0]

    def _class(self) -> str:
        is_negated = self._has("^")
        named = _MANY if is_negated else _FEW
        opposite = _FEW if is_negated else _MANY
        parts: list[str] = []
        may_be_range = False
        if self._left[0] == "]":
            raise _Unknown
        while (first := self._next()) != "]":
            if first == "\\" and self._left[0].lower() in _FEW:
                kind = self._next()
                parts.append(named[kind] if kind in named else f"[^{opposite[kind.lower()]}]")
                may_be_range = False
            elif first == "-" and may_be_range and self._left[0] != "]":
                if self._left[0] == "\\" and self._left[1].lower() in _FEW:
                    raise _Unknown
                parts.append("-")
                end = self._next()
                parts.append(self._escaped() if end == "\\" else _literal(end))
                may_be_range = False
            else:
                parts.append(self._escaped() if first == "\\" else _literal(first))
                may_be_range = True
        return f"[{'^' if is_negated else ''}{''.join(parts)}]"

    def _escaped(self) -> str:
        """What a backslash was before."""
        if match := _CODE.match(self._left):
            self._left = self._left[match.end() :]
            code = int(match[1] or match[2], 16)
            if code in _SURROGATES:
                raise _Unknown
            return f"\\u{{{code:04x}}}"
        name = self._next()
        if name in _CONTROLS and not self._left[:1].isdigit():
            return _CONTROLS[name]
        if name.isalnum():
            raise _Unknown
        return _literal(name)

    def _next(self) -> str:
        first, self._left = self._left[0], self._left[1:]
        return first

    def _has(self, character: str) -> bool:
        """Whether it comes next; it is taken then."""
        has = self._left.startswith(character)
        if has:
            self._left = self._left[1:]
        return has

    def _take(self, character: str) -> None:
        if not self._has(character):
            raise _Unknown
