"""Looks into folders that may be anything: unreadable, links in circles, names that are no text."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

# `messages.ModelName`.
MAX_NAME_LENGTH = 256


# Of this process or the system, which says nothing about a file.
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def raise_if_not_of_the_file(error: OSError) -> None:
    """Raise *error* when it is that no more files can be opened: what is there is not seen then."""
    if error.errno in _NO_DESCRIPTORS:
        raise error


def subfolders(parent: Path) -> Iterable[Path]:
    """Folders and links to folders in *parent*, without hidden ones; none where it cannot be read."""
    try:
        return sorted(path for path in parent.iterdir() if not path.name.startswith(".") and _is_dir(path))
    except OSError as e:
        raise_if_not_of_the_file(e)
        return ()


def modified_ns(path: Path) -> int:
    """When it was changed last, Unix time in ns; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def is_model_name(name: str) -> bool:
    """Whether a client could say it: printable, and no bytes that are not text."""
    return 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
