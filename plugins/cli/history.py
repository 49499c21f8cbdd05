"""The file in which `mlxd chat` keeps what was typed: private, and of bounded size."""

from __future__ import annotations

import os
from pathlib import Path

# A longer history is halved at the start of a chat.
MAX_BYTES = 1024 * 1024


def history_file(folder: Path) -> Path:
    """The file of typed lines in *folder*; made, and shortened, where needed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "chat_history"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        os.fchmod(file.fileno(), 0o600)
        content = file.read()
        if len(content) > MAX_BYTES:
            # An entry begins with an empty line and a comment with its time.
            start = content.find(b"\n# ", -MAX_BYTES // 2)
            file.seek(0)
            file.write(content[max(start, 0) :])
            file.truncate()
    return path
