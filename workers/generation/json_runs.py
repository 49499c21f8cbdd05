"""Patterns of JSON that is taken at once: a regular expression is quicker than a look at each character.

They match nothing that is wrong, nor what may still go on, and take linear time over any text.
"""

from __future__ import annotations

import re

# So deep may values stand in those of a run.
RUN_DEPTH = 2

_ESCAPE = r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_STRING = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"'
# Shorter than any bound.
_NUMBER = r"-?(?:0|[1-9]\d{0,99})(?:\.\d{1,99})?(?:[eE][+-]?\d{1,9})?"
_S = r"[ \t\n\r]*"
_KEY = rf"{_STRING}{_S}:{_S}"


def _value(depth: int) -> str:
    """A value in which others stand at most so deep."""
    plain = rf"{_NUMBER}|true|false|null|{_STRING}"
    if depth == 0:
        return rf"(?:{plain})"
    item = _value(depth - 1) + _S
    member = _KEY + item
    return rf"(?:{plain}|\[{_S}(?:{item}(?:,{_S}{item})*)?\]|\{{{_S}(?:{member}(?:,{_S}{member})*)?\}})"


# Of a string, within it, with control characters, which models write as they are.
STRETCH = re.compile(rf'(?:[^"\\]+|{_ESCAPE})+')
SPACES = re.compile(r"[ \t\n\r]+")
# Of an array, and of an object, each with the comma behind it.
ITEMS = re.compile(rf"(?:{_value(RUN_DEPTH)}{_S},{_S})+")
MEMBERS = re.compile(rf"(?:{_KEY}{_value(RUN_DEPTH)}{_S},{_S})+")
