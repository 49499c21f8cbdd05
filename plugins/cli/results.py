"""The results of a batch: a file with a line of JSON for each input. It only grows; a torn line is mended."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path
from types import TracebackType

import msgspec

from plugins.cli.output import plain
from transports.messages import Usage

# How each of our lines begins.
_BEGINNING = b'{"file": "'


class ResultsError(Exception):
    """The file cannot take these results; the text says why, in one line."""


class ResultFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no answer."""

    # A code of transports/errors.py.
    code: str
    message: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A line: an input and its answer, or its error."""

    # As it was found; bytes that are no text are written as \\xff.
    file: str
    # SHA-256 of its content; "" if it could not be read.
    digest: str
    model: str
    # SHA-256 of all else that was asked: instructions, prompt, options.
    request: str
    seconds: float
    answer: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: ResultFailure | None = None


class Results:
    """A results file, open for one batch alone.

    Args:
        path: Made if it is not there.
        model: That the batch asks.
        request: Its digest.
    """

    def __init__(self, path: Path, model: str, request: str) -> None:
        self._path = path
        self._model = model
        self._request = request
        # File and digest of what had an answer when the file was opened.
        self._answered: set[tuple[str, str]] = set()
        self._fd = -1

    def __enter__(self) -> Results:
        """Open the file and read what it has.

        Raises:
            ResultsError: Another batch has it, or it holds something else.
            OSError: It cannot be written.
        """
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ResultsError(f"{self._path}: another batch writes it") from None
            self._load()
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error and not os.fstat(self._fd).st_size:
                self._path.unlink(missing_ok=True)
        finally:
            os.close(self._fd)

    def is_answered(self, file: str, digest: str) -> bool:
        """Whether an earlier batch answered for that content of the file."""
        return (file, digest) in self._answered

    def append(self, result: Result) -> None:
        """Write a line; it is in the file when this returns, whatever happens to us."""
        fields = {name: value for name, value in msgspec.structs.asdict(result).items() if value is not None}
        # ASCII: nothing that a model wrote can act on the terminal of who looks at the file.
        _write_all(self._fd, json.dumps(plain(fields)).encode() + b"\n")

    def _load(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise ResultsError(f"{self._path}: not a file")
        content = self._path.read_bytes()
        *lines, tail = content.split(b"\n")
        # Whoever wrote it was ended in the middle of a line; what is no beginning of ours stays as it is.
        is_torn = bool(tail) and not _is_result(tail) and tail[: len(_BEGINNING)] == _BEGINNING[: len(tail)]
        if tail and not is_torn:
            lines.append(tail)
        for number, line in enumerate(lines, 1):
            self._take(number, line)
        if is_torn:
            os.ftruncate(self._fd, len(content) - len(tail))
        elif tail:
            _write_all(self._fd, b"\n")

    def _take(self, number: int, line: bytes) -> None:
        try:
            result = msgspec.json.decode(line, type=Result)
        except msgspec.DecodeError:
            raise ResultsError(
                f"{self._path}: line {number} is no result of mlxd; choose another file"
            ) from None
        if (result.model, result.request) != (self._model, self._request):
            raise ResultsError(
                f"{self._path}: line {number} answers another prompt or model, or other flags; "
                "choose another file"
            )
        if result.error is None:
            self._answered.add((result.file, result.digest))


def _is_result(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=Result)
    except msgspec.DecodeError:
        return False
    return True


def _write_all(descriptor: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[os.write(descriptor, left) :]
