"""A JSON object as it comes, looked at character by character. Knows nothing of what it is for.

`json` takes whole texts only; here the arguments of a call are known to be right as far as they have come.
"""

from __future__ import annotations

import json
import re

from workers.generation.json_runs import ITEMS, MEMBERS, RUN_DEPTH, SPACES, STRETCH

# Deeper is refused: whoever reads the arguments will do that recursively.
MAX_DEPTH = 64
# A longer number is refused: Python reads none of more than 4300 digits, and no double needs as many.
MAX_NUMBER_CHARS = 400

_SPACE = " \t\n\r"
_SIGNS = frozenset('{}[]:,"')
_HEX = frozenset("0123456789abcdefABCDEF")
# Where a number or a word may go on.
_BARE = frozenset("0123456789+-.eEtrufalsn")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_SCALAR = re.compile(rf"(?:{_NUMBER.pattern}|true|false|null)(?=[,\]}} \t\n\r])")
_WORDS = frozenset({"true", "false", "null"})
# In strings, where JSON has none of them as they are.
_CONTROLS = re.compile(r"[\x00-\x1f]")
_ESCAPED = {code: json.dumps(chr(code))[1:-1] for code in range(0x20)}
# What may come next, outside of strings, numbers and words.
_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _COMMA_OR_END = range(6)


class JsonObject:
    """Takes one object. What is wrong with it shows at the first wrong character."""

    def __init__(self) -> None:
        self.is_complete = False
        self.is_broken = False
        # Inside a string, where everything else is only text.
        self.is_in_string = False
        self._closers: list[str] = []
        self._next = _VALUE
        self._is_key = False
        # Of an escape: "\\", then "u" and its digits.
        self._escape = ""
        # A number or a word so far.
        self._bare = ""

    def feed(self, text: str) -> tuple[str, int]:
        """Take *text*, as far as the object goes or is right.

        Returns:
            What was taken, as JSON: line ends in strings, which models write as they are, are escaped. And
            how many characters it was; fewer than all only when the object is complete or broken.
        """
        taken: list[str] = []
        at = 0
        while at < len(text) and not self.is_complete:
            shown, num_taken = self._at_once(text, at) or (self._take(text[at]), 1)
            if self.is_broken:
                break
            taken.append(shown)
            at += num_taken
        return "".join(taken), at

    def _at_once(self, text: str, at: int) -> tuple[str, int] | None:
        """What in *text* from *at* on needs no closer look: as JSON, and how many characters it is."""
        if self.is_in_string:
            return None if self._escape else _stretch(text, at)
        wanted, is_sign = self._next, text[at] in _SIGNS
        if self._bare or not self._closers or (is_sign and wanted not in (_KEY, _VALUE)):
            return None
        found, then = None, wanted
        if len(self._closers) <= MAX_DEPTH - RUN_DEPTH:
            if wanted == _KEY:
                found = MEMBERS.match(text, at)
            elif wanted == _VALUE and self._closers[-1] == "]":
                found = ITEMS.match(text, at)
        if not found and not is_sign:
            found = SPACES.match(text, at)
            if not found and wanted in (_VALUE, _VALUE_OR_END):
                found, then = _SCALAR.match(text, at, at + MAX_NUMBER_CHARS + 1), _COMMA_OR_END
        if not found:
            return None
        self._next = then
        return found[0], len(found[0])

    def _take(self, character: str) -> str:
        """One character; what it is in JSON."""
        if self.is_in_string:
            return self._take_of_string(character)
        if self._bare:
            if character in _BARE:
                self._bare += character
                is_long = len(self._bare) > MAX_NUMBER_CHARS
                self.is_broken = is_long or not _may_become_value(self._bare)
                return character
            self.is_broken = not _is_value(self._bare)
            self._bare = ""
            if self.is_broken:
                return ""
        if character not in _SPACE:
            self._take_structure(character)
        return character

    def _take_of_string(self, character: str) -> str:
        if self._escape:
            self._take_escaped(character)
        elif character == "\\":
            self._escape = character
        elif character == '"':
            self.is_in_string = False
            self._next = _COLON if self._is_key else _COMMA_OR_END
        return character

    def _take_escaped(self, character: str) -> None:
        if self._escape == "\\":
            self.is_broken = character not in '"\\/bfnrtu'
            self._escape = "\\u" if character == "u" else ""
            return
        self.is_broken = character not in _HEX
        self._escape += character
        if len(self._escape) == len("\\u0000"):
            self._escape = ""

    def _take_structure(self, character: str) -> None:
        wanted = self._next
        if wanted == _COLON and character == ":":
            self._next = _VALUE
        elif wanted == _COMMA_OR_END and character == ",":
            self._next = _KEY if self._closers[-1] == "}" else _VALUE
        elif wanted in (_COMMA_OR_END, _KEY_OR_END, _VALUE_OR_END) and character == self._closers[-1]:
            self._closers.pop()
            self._next = _COMMA_OR_END
            self.is_complete = not self._closers
        elif wanted in (_KEY, _KEY_OR_END) and character == '"':
            self.is_in_string = self._is_key = True
        elif wanted in (_VALUE, _VALUE_OR_END):
            self._begin_value(character)
        else:
            self.is_broken = True

    def _begin_value(self, character: str) -> None:
        if character == "{" or (character == "[" and self._closers):
            self._closers.append("}" if character == "{" else "]")
            self._next = _KEY_OR_END if character == "{" else _VALUE_OR_END
            self.is_broken = len(self._closers) > MAX_DEPTH
        elif not self._closers:
            self.is_broken = True
        elif character == '"':
            self.is_in_string, self._is_key = True, False
        else:
            self._bare = character
            self._next = _COMMA_OR_END
            self.is_broken = not _may_become_value(character)


def _stretch(text: str, at: int) -> tuple[str, int] | None:
    found = STRETCH.match(text, at)
    if not found:
        return None
    return found[0].translate(_ESCAPED) if _CONTROLS.search(found[0]) else found[0], len(found[0])


def _is_value(text: str) -> bool:
    return text in _WORDS or _NUMBER.fullmatch(text) is not None


def _may_become_value(text: str) -> bool:
    # One more digit ends every number that is still to go on.
    return any(word.startswith(text) for word in _WORDS) or any(map(_NUMBER.fullmatch, (text, text + "0")))
