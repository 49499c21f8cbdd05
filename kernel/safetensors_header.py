"""Checks a safetensors header against its file, before a C++ parser trusts it. Reads no weights."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from kernel.model_sizes import Tensor

# The safetensors library's own limit.
MAX_HEADER_BYTES = 100_000_000

# dtype -> bits a value.
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file by name, after seeing that each is there whole and no two overlap.

    Raises:
        ValueError: What is wrong, without the file's name.
        OSError: It cannot be read.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size_bytes < 8 or length > min(MAX_HEADER_BYTES, size_bytes - 8):
            raise ValueError(f"a header of {length} bytes in a file of {size_bytes}: truncated?")
        text = file.read(length)
    try:
        header = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(raw, type=Tensor) for name, raw in header.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ValueError(f"not a safetensors header: {e}") from None
    _check_tensors(tensors, size_bytes - 8 - length)
    return tensors


def _check_tensors(tensors: dict[str, Tensor], data_bytes: int) -> None:
    expected_begin = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = tensor.data_offsets
        if tensor.dtype not in _BITS:
            raise ValueError(f"tensor {name!r}: unknown dtype {tensor.dtype!r}")
        if any(size < 0 for size in tensor.shape):
            raise ValueError(f"tensor {name!r}: a negative size in its shape")
        if begin != expected_begin:
            raise ValueError(f"tensor {name!r}: expected to begin at byte {expected_begin}, got {begin}")
        if math.prod(tensor.shape) * _BITS[tensor.dtype] != (end - begin) * 8:
            raise ValueError(f"tensor {name!r}: {end - begin} bytes do not fit its shape")
        expected_begin = end
    if expected_begin != data_bytes:
        raise ValueError(f"{expected_begin} bytes of tensors in a file with {data_bytes}: truncated?")
