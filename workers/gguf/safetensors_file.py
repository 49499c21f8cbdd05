"""Writes a safetensors file piece by piece, so that a model need not fit in memory."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import TracebackType

from msgspec import Struct

DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4}


class Entry(Struct, frozen=True):
    """A tensor to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Of the data."""
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


class SafetensorsWriter:
    """An open file whose header is written; the data follows in any order."""

    def __init__(self, path: Path, entries: list[Entry]) -> None:
        self._starts: dict[str, int] = {}
        header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
        at = 0
        for entry in entries:
            self._starts[entry.name] = at
            offsets = [at, at + entry.size_bytes]
            header[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": offsets}
            at = offsets[1]
        text = json.dumps(header, separators=(",", ":")).encode()
        # The data begins at a multiple of 8 bytes.
        text += b" " * (-len(text) % 8)
        self._data_start = 8 + len(text)
        self._file = path.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._file.truncate(self._data_start + at)

    def write(self, name: str, offset: int, data: bytes | memoryview) -> None:
        """Put *data* at byte *offset* of the tensor *name*."""
        self._file.seek(self._data_start + self._starts[name] + offset)
        self._file.write(data)

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        if error is None:
            os.fsync(self._file.fileno())
        self._file.close()
