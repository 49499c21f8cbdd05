"""The files of a batch: patterns and folders to names, and a name to its content."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def expand(patterns: Iterable[str], out: Path) -> tuple[str, ...]:
    """The files that *patterns* name, each once, in the order of patterns and then of names.

    Args:
        patterns: "inbox/*.png", "inbox/**/*.pdf", a file, or a folder: the files in it, hidden ones left out.
        out: Never among them.
    """
    found = (name for pattern in patterns for name in _matches(pattern))
    taken = dict.fromkeys(name for name in found if Path(name).is_file() and not _is_same(name, out))
    return tuple(taken)


def digest_of(name: str) -> str:
    """SHA-256 of a file's content, in hexadecimal digits; "" if it cannot be read."""
    try:
        with Path(name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def label(name: str) -> str:
    """A file's name as text, whatever bytes it has."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _matches(pattern: str) -> Iterator[str]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        yield from sorted(str(child) for child in path.iterdir() if not child.name.startswith("."))
    elif path.is_file():
        # Its name may have brackets.
        yield str(path)
    else:
        # pathlib's own takes no absolute patterns.
        yield from sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207


def _is_same(name: str, out: Path) -> bool:
    return out.exists() and Path(name).samefile(out)
