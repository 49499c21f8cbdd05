"""SiLU, and the gate of SwiGLU, on a Linux CPU, with numpy's exponential in place of mlx's.

As in `workers.generation.cpu_attention`: mlx computes it one number at a time there, and a prompt or a
picture has hundreds of thousands of them a layer.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.nn.layers import activations

from workers.generation.cpu_values import have_values

# Any: mlx and numpy publish no types that mypy sees outside a worker's environment.
Array = Any

# Numbers of a call: for fewer, waiting for them costs more than is won. With 12,000 in each layer a
# step takes as long either way, with 50,000 it takes 6 % less.
MIN_NUMBERS = 16 * 1024
# Their models take their `swiglu` from here when they are imported.
_LIBRARIES = ("mlx_lm.models.activations", "mlx_vlm.models.activations")

_silu_in_mlx: Callable[[Array], Array] = activations.silu


@partial(mx.compile, shapeless=True)
def _swiglu_in_mlx(gate: Array, x: Array) -> Array:
    """As the libraries have it: one pass over both."""
    return _silu_in_mlx(gate) * x


def install(device: str) -> None:
    """Have all models that are imported from now on use it, where *device* is one that it is for."""
    if device != "cpu" or sys.platform != "linux":
        return
    nn.silu = activations.silu = silu
    for name in _LIBRARIES:
        # An environment has those of its kind.
        with contextlib.suppress(ImportError):
            setattr(import_module(name), "swiglu", swiglu)  # noqa: B010 - mypy knows no such attribute


def silu(x: Array) -> Array:
    """See mlx.nn.silu; waits for *x* when it is large."""
    return _gated(x, None) if _is_for_us(x) else _silu_in_mlx(x)


def swiglu(gate: Array, x: Array) -> Array:
    """SiLU of *gate*, times *x* of the same shape."""
    return _gated(gate, x) if _is_for_us(gate, x) else _swiglu_in_mlx(gate, x)


def _is_for_us(*arrays: Array) -> bool:
    """Whether numpy is to compute with them; then they have values."""
    is_large = arrays[0].size >= MIN_NUMBERS and all(one.dtype == mx.float32 for one in arrays)
    return is_large and have_values(*arrays)


def _gated(gate: Array, x: Array | None) -> Array:
    numbers = np.asarray(gate)
    # Of a large negative number the exponential is infinite, and the quotient 0, as it should be.
    with np.errstate(over="ignore"):
        result = np.exp(-numbers)
    result += 1
    np.divide(numbers, result, out=result)
    if x is not None:
        result *= np.asarray(x)
    return mx.array(result)
