"""`file:` URLs of pictures: read only below the folders that a setting names, whatever links stand there."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from transports.errors import Forbidden, RequestError, RequestTooLarge


def is_file_url(text: str) -> bool:
    """Whether it names a file."""
    return text[:5].lower() == "file:"


def read_allowed(url: str, roots: Sequence[str], max_bytes: int, param: str) -> bytes:
    """The content of a file. Blocks: call it in a thread.

    Args:
        url: "file:///path".
        roots: `stdio.file_roots`.
        max_bytes: Of the file.
        param: Where it stands in the request.

    Raises:
        RequestError: It is not below one of *roots*, cannot be read, or is too large.
    """
    path = _path(url, param)
    for root in roots:
        real_root = os.path.realpath(Path(root).expanduser())
        if path.startswith(real_root.rstrip("/") + "/"):
            return _read(real_root, os.path.relpath(path, real_root), max_bytes, param)
    # The same whether it is there or not.
    raise Forbidden(f"{param}: expected a file below one of stdio.file_roots", param=param)


def _path(url: str, param: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise RequestError(f"{param}: expected file:///PATH", param=param)
    return os.path.realpath(path)


def _read(root: str, relative: str, max_bytes: int, param: str) -> bytes:
    """Go down from *root* name by name: a link that was put there since we looked is an error."""
    fds = []
    try:
        fds.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY))
        *folders, name = relative.split("/")
        for folder in folders:
            fds.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fds[-1]))
        # Without waiting for the writer of a pipe.
        fds.append(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fds[-1]))
        info = os.fstat(fds[-1])
        if not stat.S_ISREG(info.st_mode):
            raise RequestError(f"{param}: not a file", param=param)
        with os.fdopen(fds.pop(), "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as e:
        raise RequestError(f"{param}: {e.strerror}", param=param) from None
    finally:
        for fd in fds:
            os.close(fd)
    if len(content) > max_bytes:
        raise RequestTooLarge(
            f"{param}: expected at most {max_bytes} bytes (media.max_file_bytes)", param=param
        )
    return content
