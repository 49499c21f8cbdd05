"""Finds the files in a line that was pasted, or dropped onto the terminal. Reads none of them."""

from __future__ import annotations

import re

from plugins.cli.attachments import SUFFIXES, as_path

# A path as terminals write one that is dropped on them: in quotes, or with a backslash before each character
# that a shell would see; a person who types one leaves spaces out. A shell sees the spaces of ASCII only:
# macOS puts others, which nobody escapes, into the names of its screenshots ("at 9.41.00\u202fAM.png").
_QUOTED = re.compile(r"""(?<!\S)(?:'([^'\n]+)'|"([^"\n]+)")""", re.ASCII)
_BARE = re.compile(r"(?<!\S)(?:\\.|[^\s\\])+", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
# What may follow a path in a sentence.
_PUNCTUATION = ".,;:!?)"


def find_files(line: str) -> tuple[str, list[str]]:
    """Take the pictures and documents out of *line*: existing files with an ending of one.

    Returns:
        What else it says, and the files' names.
    """
    names: list[str] = []

    def take_quoted(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not _is_file(name):
            return match[0]
        names.append(name)
        return ""

    def take_bare(match: re.Match[str]) -> str:
        word = _ESCAPED.sub(r"\1", match[0])
        name = word.rstrip(_PUNCTUATION)
        if not _is_file(name):
            return match[0]
        names.append(name)
        return word[len(name) :]

    rest = _BARE.sub(take_bare, _QUOTED.sub(take_quoted, line))
    return (re.sub(r" {2,}", " ", rest).strip() if names else line), names


def _is_file(name: str) -> bool:
    if not name.lower().endswith(SUFFIXES):
        return False
    try:
        return as_path(name).is_file()
    # A name that is too long, or has a zero byte.
    except (OSError, ValueError):
        return False
