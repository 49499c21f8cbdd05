"""Fetches one file of a repository as a blob of the hub cache: bounded, resumed, checked before it counts.

huggingface_hub's own downloader begins anew in each process and compares sizes only, so of it only the
transfer is used, `http_get`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get

from transports.errors import ModelUnavailable
from workers.hub.files import RepoFile

# Tries in a row that brought nothing. http_get itself tries a broken connection five times.
MAX_TRIES = 4
FIRST_WAIT_S = 1.0
# A partial file that does not fit the hub's any more.
_RANGE_NOT_SATISFIABLE = 416
_HASH_BYTES = 4 * 1024 * 1024
# Kept at a time. The library's 10 MB would be lost at each cut, and shown only every few seconds.
constants.DOWNLOAD_CHUNK_SIZE = 256 * 1024

# Told of bytes that came, or, negative, of bytes that were no good.
OnBytes = Callable[[int], None]


class WrongContent(Exception):
    """What came is not the file that the hub lists."""


def fetch(file: RepoFile, url: str, headers: Mapping[str, str], blobs: Path, on_bytes: OnBytes) -> None:
    """Have *file* among *blobs* with the content that the hub lists; what is there already is only checked.

    Args:
        file: What is to be there.
        url: Where it is.
        headers: For the hub; httpx2 drops Authorization where another host answers.
        blobs: The folder; a partial file of an earlier try in it is gone on with.
        on_bytes: Told of bytes that come, and of those that were there and are no good.

    Raises:
        ModelUnavailable: The hub does not give it, or gives something else.
        HfHubHTTPError: The hub refuses.
        httpx2.TransportError: The hub cannot be reached.
    """
    target, partial = blobs / file.blob, blobs / f"{file.blob}.incomplete"
    if target.exists():
        if is_right(file, target):
            return
        on_bytes(-file.size_bytes)
        target.unlink()
    # Once more from the start: a proxy or a disk may have spoilt the first.
    for is_last in (False, True):
        try:
            _complete(file, url, headers, partial, on_bytes)
            if not is_right(file, partial):
                raise WrongContent("its checksum is wrong")
        except WrongContent as e:
            on_bytes(-min(partial.stat().st_size, file.size_bytes))
            partial.unlink()
            if is_last:
                raise ModelUnavailable(f"{file.name}: {e}, twice: not what the hub lists") from None
        else:
            break
    partial.replace(target)


def is_right(file: RepoFile, path: Path) -> bool:
    """Whether the content at *path* is that of *file*."""
    if path.stat().st_size != file.size_bytes:
        return False
    digest = hashlib.sha256() if file.sha256 else _git_blob(file.size_bytes)
    with path.open("rb", buffering=0) as content:
        while data := content.read(_HASH_BYTES):
            digest.update(data)
    return digest.hexdigest() == file.blob


def _git_blob(size_bytes: int) -> hashlib._Hash:
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)


def _complete(file: RepoFile, url: str, headers: Mapping[str, str], partial: Path, on_bytes: OnBytes) -> None:
    """Fetch what *partial* lacks of *file*."""
    num_tries, wait_s = 0, FIRST_WAIT_S
    with partial.open("ab") as stream:
        bounded = _Bounded(stream, file.size_bytes, on_bytes)
        while (had_bytes := bounded.tell()) != file.size_bytes:
            if had_bytes > file.size_bytes:
                raise WrongContent(f"more than its {file.size_bytes} bytes came")
            try:
                http_get(
                    url,
                    bounded,
                    resume_size=had_bytes,
                    headers=dict(headers),
                    expected_size=file.size_bytes,
                    displayed_filename=file.name,
                )
            except httpx2.TransportError:
                num_tries += 1
                if num_tries == MAX_TRIES:
                    raise
            except HfHubHTTPError as e:
                status = e.response.status_code
                if status == _RANGE_NOT_SATISFIABLE and had_bytes:
                    raise WrongContent("the hub has another file by now") from None
                num_tries += 1
                if status < 500 or num_tries == MAX_TRIES:
                    raise
            except OSError as e:
                if e.errno is None:  # http_get's word for fewer bytes than expected.
                    raise WrongContent(f"{bounded.tell()} of its {file.size_bytes} bytes came") from None
                raise
            if bounded.tell() > had_bytes:
                num_tries, wait_s = 0, FIRST_WAIT_S
            elif bounded.tell() != file.size_bytes:
                time.sleep(wait_s)
                wait_s *= 2
        stream.flush()
        os.fsync(stream.fileno())


class _Bounded:
    """A file that takes no more than it is to hold: a server must not fill the disk.

    It has what `http_get` uses of a file.
    """

    def __init__(self, stream: BinaryIO, max_bytes: int, on_bytes: OnBytes) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._on_bytes = on_bytes

    def write(self, data: bytes) -> int:
        if self._stream.tell() + len(data) > self._max_bytes:
            raise WrongContent(f"more than its {self._max_bytes} bytes came")
        self._on_bytes(len(data))
        return self._stream.write(data)

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, position: int) -> int:
        return self._stream.seek(position)

    def truncate(self) -> int:
        """The server began anew: what is behind the position goes."""
        end = os.fstat(self._stream.fileno()).st_size
        self._on_bytes(self._stream.tell() - end)
        return self._stream.truncate()
