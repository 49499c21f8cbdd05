"""The header of a GGUF file: metadata and where its tensors are, with every length checked before it is used.

Written here because the parsers at hand trust the file: mlx's reads out of bounds on a malformed one, and
the gguf package's maps whatever the header claims. Reads no weights.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from transports.errors import RequestError
from workers.gguf.tensor_types import OTHER_NAMES, TYPES, TensorType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# Real files have some 50 entries and a few thousand tensors at most.
MAX_ENTRIES = 65_536
MAX_TENSORS = 65_536
# Vocabularies have up to 262,144 tokens, merges about as many.
MAX_ARRAY_ITEMS = 4_194_304
MAX_KEY_BYTES = 65_535
# gguf.md: "general.alignment", a multiple of 8.
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4

Scalar: TypeAlias = int | float | bool | str
Value: TypeAlias = Scalar | list[Scalar]

# gguf.md, enum gguf_metadata_value_type: number -> struct format.
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class Tensor(Struct, frozen=True, kw_only=True):
    """A tensor of the file; `shape` is the usual order, rows first."""

    name: str
    type: TensorType
    shape: tuple[int, ...]
    # From the start of the file, bytes.
    offset: int
    size_bytes: int


class GgufHeader(Struct, frozen=True, kw_only=True):
    """All that a GGUF file says about its weights."""

    metadata: dict[str, Value]
    tensors: dict[str, Tensor]


def read_header(path: Path) -> GgufHeader:
    """Read and check the header of *path*.

    Raises:
        RequestError: Not a GGUF file, one of a version or with tensors that we cannot read, or damaged.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise RequestError(f"{path.name}: not a GGUF file: it does not start with 'GGUF'")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Parser(path.name, data).parse()
    except OSError as e:
        raise RequestError(f"{path.name}: {e.strerror}") from None


class _Parser:
    """A cursor over the file."""

    def __init__(self, name: str, data: mmap.mmap) -> None:
        self._name = name
        self._data = data
        self._at = len(MAGIC)

    def parse(self) -> GgufHeader:
        version = self._number("I")
        if version not in VERSIONS:
            raise self._damaged(f"GGUF version: expected 2 or 3, got {version}")
        num_tensors = self._count("number of tensors", MAX_TENSORS)
        num_entries = self._count("number of metadata entries", MAX_ENTRIES)
        metadata: dict[str, Value] = {}
        for _ in range(num_entries):
            key = self._text(MAX_KEY_BYTES)
            if key in metadata:
                raise self._damaged(f"metadata key {key!r} occurs twice")
            metadata[key] = self._value(key)
        parts = metadata.get("split.count", 1)
        if parts not in (0, 1):
            raise RequestError(
                f"{self._name}: one of {parts} parts of a model; join them with gguf-split --merge"
            )
        return GgufHeader(metadata=metadata, tensors=self._tensors(num_tensors, metadata))

    def _tensors(self, num_tensors: int, metadata: dict[str, Value]) -> dict[str, Tensor]:
        listed = [self._tensor() for _ in range(num_tensors)]
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment % 8:
            raise self._damaged(f"general.alignment: expected a multiple of 8, got {alignment!r}")
        start = -(-self._at // alignment) * alignment
        tensors: dict[str, Tensor] = {}
        end_of_last = start
        for tensor in sorted(listed, key=lambda tensor: tensor.offset):
            begin = start + tensor.offset
            if tensor.name in tensors:
                raise self._damaged(f"tensor {tensor.name!r} occurs twice")
            if begin < end_of_last:
                raise self._damaged(f"tensor {tensor.name!r} overlaps the one before it")
            end_of_last = begin + tensor.size_bytes
            if end_of_last > len(self._data):
                raise self._damaged(
                    f"tensor {tensor.name!r} ends at byte {end_of_last}, the file at {len(self._data)}: "
                    "it is truncated, fetch it again"
                )
            tensors[tensor.name] = Tensor(
                name=tensor.name,
                type=tensor.type,
                shape=tensor.shape,
                offset=begin,
                size_bytes=tensor.size_bytes,
            )
        return tensors

    def _tensor(self) -> Tensor:
        name = self._text(MAX_KEY_BYTES)
        num_dimensions = self._number("I")
        if not 1 <= num_dimensions <= MAX_DIMENSIONS:
            raise self._damaged(
                f"tensor {name!r}: expected 1..{MAX_DIMENSIONS} dimensions, got {num_dimensions}"
            )
        # The file has the fastest one first.
        shape = tuple(int(self._number("Q")) for _ in range(num_dimensions))[::-1]
        number = int(self._number("I"))
        offset = int(self._number("Q"))
        kind = TYPES.get(number)
        if kind is None:
            known = ", ".join(one.name for one in TYPES.values())
            raise RequestError(
                f"{self._name}: tensor {name!r} has type {OTHER_NAMES.get(number, number)}; "
                f"supported are {known}"
            )
        if min(shape) < 1 or shape[-1] % kind.block_size:
            raise self._damaged(f"tensor {name!r}: a shape of {shape} does not fit type {kind.name}")
        size_bytes = math.prod(shape) // kind.block_size * kind.block_bytes
        return Tensor(name=name, type=kind, shape=shape, offset=offset, size_bytes=size_bytes)

    def _value(self, key: str) -> Value:
        kind = int(self._number("I"))
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._array(key)
        return self._scalar(key, kind)

    def _array(self, key: str) -> list[Scalar]:
        kind = int(self._number("I"))
        length = self._count(f"{key}: array length", MAX_ARRAY_ITEMS)
        if kind == _STRING:
            return [self._text() for _ in range(length)]
        if kind not in _FORMATS:
            raise self._damaged(f"{key}: expected an array of numbers or text, got type {kind}")
        return list(struct.unpack(f"<{length}{_FORMATS[kind]}", self._take(length * _size(kind))))

    def _scalar(self, key: str, kind: int) -> Scalar:
        if kind not in _FORMATS:
            raise self._damaged(f"{key}: unknown value type {kind}")
        value: Scalar = struct.unpack(f"<{_FORMATS[kind]}", self._take(_size(kind)))[0]
        return value

    def _count(self, what: str, limit: int) -> int:
        count = int(self._number("Q"))
        if count > limit:
            raise self._damaged(f"{what}: expected at most {limit}, got {count}")
        return count

    def _text(self, limit: int | None = None) -> str:
        length = int(self._number("Q"))
        if limit is not None and length > limit:
            raise self._damaged(f"a name of {length} bytes")
        # Vocabularies of byte pieces exist; the replacement character is as good as any other there.
        return self._take(length).decode("utf-8", errors="replace")

    def _number(self, form: str) -> int:
        value: int = struct.unpack(f"<{form}", self._take(struct.calcsize(f"<{form}")))[0]
        return value

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise self._damaged(
                f"the header wants byte {end}, the file ends at {len(self._data)}: truncated?"
            )
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _damaged(self, what: str) -> RequestError:
        return RequestError(f"{self._name}: {what}")


def _size(kind: int) -> int:
    return struct.calcsize(f"<{_FORMATS[kind]}")
