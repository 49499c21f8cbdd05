"""Weights from GGUF blocks to what MLX computes with: the same numbers, differently packed.

A block of Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0 is `scale * q + bias` over 32 values: MLX's affine quantisation
with group size 32, exactly. K-quants and IQ4 have scales of scales, which MLX has not: they become dense
float16 (the gguf package knows how).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from workers.gguf.tensor_types import TensorType

GROUP_SIZE = 32
# numpy publishes types, but the environment that is type-checked does not hold it.
Array: TypeAlias = "np.ndarray"

# Type -> bits of its exact affine form.
AFFINE_BITS = {"Q4_0": 4, "Q4_1": 4, "Q5_0": 5, "Q5_1": 5, "Q8_0": 8}


def to_affine(blocks: Array, kind: TensorType) -> tuple[Array, Array, Array]:
    """Repack rows of blocks as MLX affine quantisation, group size 32; exact.

    Args:
        blocks: uint8, shape (num_rows, bytes of a row).
        kind: A key of `AFFINE_BITS`.

    Returns:
        Weight (uint32, (num_rows, num_columns * bits / 32)), scales and biases
        (float16, (num_rows, num_columns / 32)).
    """
    num_rows = blocks.shape[0]
    blocks = blocks.reshape(num_rows, -1, kind.block_bytes)
    scales, biases, values = _SPLITTERS[kind.name](blocks)
    packed = _PACKERS[AFFINE_BITS[kind.name]](values)
    return packed.reshape(num_rows, -1).view("<u4"), scales, biases


def to_float32(blocks: Array, kind: TensorType) -> Array:
    """The values of rows of blocks, float32, shape (num_rows, num_columns)."""
    match kind.name:
        case "F32":
            return blocks.view("<f4")
        case "F16":
            return blocks.view("<f2").astype(np.float32)
        case "BF16":
            return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)
    # Imported late: most files do not need it.
    from gguf import GGMLQuantizationType  # type: ignore[import-not-found]  # noqa: PLC0415
    from gguf.quants import dequantize  # type: ignore[import-not-found]  # noqa: PLC0415

    return dequantize(blocks, GGMLQuantizationType[kind.name])


def from_float32(values: Array, dtype: str) -> Array:
    """*values* as float32 "F32", float16 "F16", or bfloat16 "BF16" (as uint16); rounds to nearest even.

    Raises:
        OverflowError: A value is too large for *dtype*, or none at all.
    """
    if dtype == "F32":
        result = finite = values
    elif dtype == "F16":
        with np.errstate(over="ignore"):
            result = finite = values.astype(np.float16)
    else:
        bits = values.view(np.uint32)
        result = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        finite = values
    if not np.isfinite(finite).all():
        raise OverflowError(f"a value is not finite in {dtype}")
    return result


def _half(blocks: Array, at: int) -> Array:
    return np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2")[..., 0]


def _nibbles(data: Array) -> Array:
    """16 bytes -> 32 values: the low halves of all, then the high halves."""
    return np.concatenate([data & 0x0F, data >> 4], axis=-1)


def _fifth_bits(data: Array) -> Array:
    """4 bytes -> the fifth bits of 32 values, in place."""
    return np.unpackbits(data, axis=-1, bitorder="little") << 4


def _split_q4_0(blocks: Array) -> tuple[Array, Array, Array]:
    scales = _half(blocks, 0)
    return scales, scales * np.float16(-8), _nibbles(blocks[..., 2:])


def _split_q4_1(blocks: Array) -> tuple[Array, Array, Array]:
    return _half(blocks, 0), _half(blocks, 2), _nibbles(blocks[..., 4:])


def _split_q5_0(blocks: Array) -> tuple[Array, Array, Array]:
    scales = _half(blocks, 0)
    return scales, scales * np.float16(-16), _nibbles(blocks[..., 6:]) | _fifth_bits(blocks[..., 2:6])


def _split_q5_1(blocks: Array) -> tuple[Array, Array, Array]:
    values = _nibbles(blocks[..., 8:]) | _fifth_bits(blocks[..., 4:8])
    return _half(blocks, 0), _half(blocks, 2), values


def _split_q8_0(blocks: Array) -> tuple[Array, Array, Array]:
    scales = _half(blocks, 0)
    # int8 as uint8 plus 128.
    return scales, scales * np.float16(-128), blocks[..., 2:] ^ 0x80


# Type -> blocks to (scales, biases, values as uint8).
_SPLITTERS: dict[str, Callable[[Array], tuple[Array, Array, Array]]] = {
    "Q4_0": _split_q4_0,
    "Q4_1": _split_q4_1,
    "Q5_0": _split_q5_0,
    "Q5_1": _split_q5_1,
    "Q8_0": _split_q8_0,
}


def _pack4(values: Array) -> Array:
    return values[..., 0::2] | (values[..., 1::2] << 4)


def _pack5(values: Array) -> Array:
    """8 values -> 5 bytes, the first value in the lowest bits."""
    eights = values.reshape(*values.shape[:-1], -1, 8).astype("<u8")
    words = (eights << np.arange(0, 40, 5, dtype=np.uint64)).sum(axis=-1, dtype="<u8")
    return np.ascontiguousarray(words[..., None].view(np.uint8)[..., :5])


def _pack8(values: Array) -> Array:
    return np.ascontiguousarray(values)


_PACKERS: dict[int, Callable[[Array], Array]] = {4: _pack4, 5: _pack5, 8: _pack8}
