"""Takes out of what a library says what it tells of this machine: folders, and addresses of objects."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
# Before a file's name; not what a URL has behind its host.
_FOLDERS = re.compile(r"(?<![\w:/.~])/(?:[^/\s'\"]+/)+")


def redacted(said: str) -> str:
    """*said* as a client may read it: files without their folders."""
    return _FOLDERS.sub("", _ADDRESS.sub("0x...", said))
