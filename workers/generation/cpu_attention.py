"""Attention over long contexts on a Linux CPU, with numpy's exponential in place of mlx's.

mlx computes the softmax of the scores one number at a time there, numpy as many as fit a register, and its
sums are nearer to the true ones. What that makes of a long prompt, tests/benchmarks/bench_prefill.py tells.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from workers.generation.cpu_values import have_values

# Any: mlx and numpy publish no types that mypy sees outside a worker's environment.
Array = Any

# Scores of a call: for fewer, waiting for them costs more than is won.
MIN_SCORES = 16 * 1024
# Rows of scores are worked through in portions that stay in the processor's cache.
_BLOCK_BYTES = 256 * 1024

_in_mlx: Callable[..., Array] = mx.fast.scaled_dot_product_attention


def install(device: str) -> None:
    """Have all models of this process use it, where *device* is one that it is for."""
    if device == "cpu" and sys.platform == "linux":
        mx.fast.scaled_dot_product_attention = scaled_dot_product_attention


def scaled_dot_product_attention(
    queries: Array,
    keys: Array,
    values: Array,
    *,
    scale: float,
    mask: Array | str | None = None,
    sinks: Array | None = None,
    **options: Any,
) -> Array:
    """See mlx.core.fast.scaled_dot_product_attention; waits for the scores when they are many.

    Args:
        queries: Shape (batch, heads, length, size).
        keys: Shape (batch, kv_heads, num_keys, size).
        values: Shape (batch, kv_heads, num_keys, value_size).
        mask: "causal", True where a query sees a key, or what is added to the scores; it broadcasts to
            (batch, heads, length, num_keys).
    """
    num_rows, num_heads, length, size = queries.shape
    num_kv_heads, num_keys = keys.shape[1:3]
    is_for_us = sinks is None and not options and {queries.dtype, keys.dtype, values.dtype} == {mx.float32}
    if not is_for_us or num_rows * num_heads * length * num_keys < MIN_SCORES:
        return _in_mlx(queries, keys, values, scale=scale, mask=mask, sinks=sinks, **options)
    # The heads that share keys are rows of one product.
    shared = (queries * scale).reshape(num_rows, num_kv_heads, -1, size)
    scores = shared @ keys.swapaxes(-1, -2)
    if not have_values(scores, *([mask] if isinstance(mask, mx.array) else [])):
        return _in_mlx(queries, keys, values, scale=scale, mask=mask, sinks=sinks)
    # A view of what mlx computed, which nobody else holds yet.
    sums = _exponentials(np.asarray(scores).reshape(num_rows, num_heads, length, num_keys), _as_numpy(mask))
    attended = scores @ values / mx.array(sums.reshape(num_rows, num_kv_heads, -1, 1))
    return attended.reshape(num_rows, num_heads, length, -1)


def _as_numpy(mask: Array | str | None) -> Array | str | None:
    return np.asarray(mask) if isinstance(mask, mx.array) else mask


def _exponentials(scores: Array, mask: Array | str | None) -> Array:
    """Turn scores into what their softmax divides by its sum; those sums.

    Args:
        scores: A numpy array of float32, shape (batch, heads, length, num_keys); changed in place.

    Returns:
        Shape (batch, heads, length).
    """
    _hide(scores, mask)
    num_keys = scores.shape[-1]
    rows = scores.reshape(-1, num_keys)
    sums = np.empty(len(rows), np.float32)
    block = max(1, _BLOCK_BYTES // (num_keys * rows.itemsize))
    for at in range(0, len(rows), block):
        part = rows[at : at + block]
        part -= part.max(axis=-1, keepdims=True)
        np.exp(part, out=part)
        part.sum(axis=-1, out=sums[at : at + block])
    return sums.reshape(scores.shape[:-1])


def _hide(scores: Array, mask: Array | str | None) -> None:
    """Apply a mask, only where it hides something."""
    if mask is None:
        return
    length, num_keys = scores.shape[-2:]
    # "causal": each query sees itself and what is before it, so all but a triangle at the end.
    seen = np.tri(length, num_keys, num_keys - length, dtype=bool) if isinstance(mask, str) else mask
    if seen.dtype != bool:
        scores += seen
        return
    hidden = ~seen
    columns = np.flatnonzero(hidden.any(axis=tuple(range(hidden.ndim - 1))))
    if len(columns):
        ends = slice(columns[0], columns[-1] + 1)
        np.copyto(scores[..., ends], np.finfo(np.float32).min, where=hidden[..., ends])
