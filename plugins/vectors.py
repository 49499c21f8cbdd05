"""The numbers of an embeddings or rerank as they came from a worker: nothing of them is copied."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from transports.errors import RemoteProtocolError
from transports.frames import Frame, as_buffer
from transports.vectors import Vectors

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class NumberRows:
    """float32 of shape (len, row_size)."""

    row_size: int
    # Row by row.
    values: memoryview

    def __len__(self) -> int:
        return len(self.values) // (self.row_size * FLOAT_BYTES)

    def row(self, index: int) -> memoryview:
        """The bytes of a row, little-endian."""
        size = self.row_size * FLOAT_BYTES
        return self.values[index * size : (index + 1) * size]

    def floats(self, index: int) -> list[float]:
        """The numbers of a row."""
        return list(struct.unpack(f"<{self.row_size}f", self.row(index)))


def read_vectors(item: Vectors, buffers: Sequence[Frame]) -> NumberRows:
    """The numbers that *item* points at.

    Args:
        item: Of an events message.
        buffers: The frames after its body.

    Raises:
        RemoteProtocolError: There is no such frame, or it has another size.
    """
    if item.buffer >= len(buffers):
        raise RemoteProtocolError(f"vectors: expected one of {len(buffers)} buffers, got {item.buffer}")
    values = memoryview(as_buffer(buffers[item.buffer])).cast("B")
    if len(values) != (expected := item.num_rows * item.row_size * FLOAT_BYTES):
        raise RemoteProtocolError(f"vectors: expected {expected} bytes, got {len(values)}")
    return NumberRows(item.row_size, values)
