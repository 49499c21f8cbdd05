"""Writes small GGUF files, right ones and wrong ones, from the format's description and nothing of ours."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

Tensor = tuple[str, Sequence[int], int, int]


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(entry: object) -> bytes:
    match entry:
        case bool():
            return struct.pack("<I?", 7, entry)
        case int():
            return struct.pack("<II", 4, entry)
        case float():
            return struct.pack("<If", 6, entry)
        case str():
            return struct.pack("<I", 8) + text(entry)
        case list() if all(isinstance(one, str) for one in entry):
            return struct.pack("<IIQ", 9, 8, len(entry)) + b"".join(map(text, entry))
        case list() if all(isinstance(one, int) for one in entry):
            return struct.pack("<IIQ", 9, 5, len(entry)) + struct.pack(f"<{len(entry)}i", *entry)
        case list():
            return struct.pack("<IIQ", 9, 6, len(entry)) + struct.pack(f"<{len(entry)}f", *entry)
    raise TypeError(entry)


def gguf(
    metadata: Mapping[str, object],
    tensors: Sequence[Tensor] = (),
    *,
    version: int = 3,
    data_bytes: int = 0,
) -> bytes:
    """A file; each tensor is (name, shape with rows first, type number, offset in the data)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, entry in metadata.items():
        out += text(key) + value(entry)
    for name, shape, kind, offset in tensors:
        sizes = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        out += text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)
    return out + bytes(-len(out) % 32) + bytes(data_bytes)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
