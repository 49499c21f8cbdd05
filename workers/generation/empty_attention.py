"""Attention of no queries, on CUDA: mlx 0.32.4 divides by zero there, which ends the process (SIGFPE).

mlx-vlm's Qwen2.5-VL splits a picture into windows, and some of them are empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any

_in_mlx: Callable[..., Array] = mx.fast.scaled_dot_product_attention


def install(device: str) -> None:
    """Have all models of this process use it, where *device* is one that it is for."""
    if device == "cuda":
        mx.fast.scaled_dot_product_attention = scaled_dot_product_attention


def scaled_dot_product_attention(queries: Array, keys: Array, values: Array, **options: Any) -> Array:
    """See mlx.core.fast.scaled_dot_product_attention."""
    if queries.size == 0:
        return mx.zeros((*queries.shape[:-1], values.shape[-1]), queries.dtype)
    return _in_mlx(queries, keys, values, **options)
