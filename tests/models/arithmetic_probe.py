"""Attention and SiLU as the workers compute them on a CPU, in the text worker's environment, against float64.

Prints a line of JSON: for each case its name, its number of scores and the largest error of an element as a
share of the size of a query's numbers.
"""

from __future__ import annotations

import json

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx_lm.models import activations as swiglu_module
from mlx_lm.models.base import create_causal_mask

from workers.generation import cpu_activations, cpu_attention

SCALE = 0.125
NUM_HEADS, NUM_KV_HEADS, SIZE = 6, 2, 16
# Rows, queries, keys, size of a query's numbers: few scores, many, many in several rows, and huge ones.
SHAPES = ((1, 4, 40, 3), (1, 16, 700, 3), (1, 300, 300, 3), (3, 8, 300, 3), (4, 1, 900, 3), (1, 8, 900, 300))


def masks(num_rows: int, length: int, num_keys: int) -> dict[str, object]:
    """Everything that models give, but what adds nothing to these."""
    num_before = num_keys - length
    padding = mx.array([7 * row for row in range(num_rows)])
    causal = create_causal_mask(length, num_before)
    return {
        "none": None,
        "causal": "causal",
        "array": causal,
        "window": create_causal_mask(length, num_before, window_size=20),
        "padding": create_causal_mask(length, num_before, left_padding=padding),
        "added": mx.where(causal, mx.array(0.5), mx.array(-1e9)),
    }


def expected(queries: object, keys: object, values: object, mask: object, num_before: int) -> object:
    """The textbook's, in float64."""
    q, k, v = (np.asarray(one).astype(np.float64) for one in (queries, keys, values))
    k, v = (np.repeat(one, NUM_HEADS // NUM_KV_HEADS, axis=1) for one in (k, v))
    scores = q @ k.swapaxes(-1, -2) * SCALE
    if isinstance(mask, str):
        mask = create_causal_mask(q.shape[2], num_before)
    if mask is not None:
        seen = np.asarray(mask)
        scores = np.where(seen, scores, -np.inf) if seen.dtype == np.bool_ else scores + seen
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True) @ v


def activation_errors() -> dict[str, float]:
    """The largest of each, as a share of the number."""
    before = nn.silu
    cpu_activations.install("metal")
    assert nn.silu is before
    cpu_activations.install("cpu")
    assert nn.silu is cpu_activations.silu
    assert swiglu_module.swiglu is cpu_activations.swiglu
    errors = {}
    for size in (64, 65536):
        gate, x = (30 * mx.random.normal((4, size)) for _ in range(2))
        wide = np.asarray(gate).astype(np.float64)
        expected = wide / (1 + np.exp(-wide))
        found = {
            "silu": (nn.silu(gate), expected),
            "module": (nn.SiLU()(gate), expected),
            "swiglu": (swiglu_module.swiglu(gate, x), expected * np.asarray(x)),
            "traced": (mx.compile(lambda one: 2 * nn.silu(one))(gate), 2 * expected),
            "largest": (nn.silu(mx.full((4, size), -1e30)), np.zeros((4, size))),
        }
        for name, (given, wanted) in found.items():
            errors[f"{name} of {size}"] = float(
                (np.abs(np.asarray(given) - wanted) / (1 + np.abs(wanted))).max()
            )
    return errors


def main() -> None:
    """Compare all cases."""
    mx.set_default_device(mx.Device(mx.cpu))
    mx.random.seed(1)
    is_ours = []
    for device in ("metal", "cpu"):
        cpu_attention.install(device)
        is_ours.append(mx.fast.scaled_dot_product_attention is cpu_attention.scaled_dot_product_attention)
    cases = []
    for num_rows, length, num_keys, amount in SHAPES:
        queries = amount * mx.random.normal((num_rows, NUM_HEADS, length, SIZE))
        keys, values = (
            # As a cache gives them: the beginning of a longer array.
            mx.random.normal((num_rows, NUM_KV_HEADS, num_keys + 5, SIZE))[:, :, :num_keys]
            for _ in range(2)
        )
        mx.eval(queries, keys, values)
        for name, mask in masks(num_rows, length, num_keys).items():
            given = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=SCALE, mask=mask)
            wanted = expected(queries, keys, values, mask, num_keys - length)
            error = float(np.abs(np.asarray(given) - wanted).max()) / amount
            cases.append(
                [f"{name} of {num_rows}x{length}x{num_keys}", num_rows * NUM_HEADS * length * num_keys, error]
            )
    traced = mx.compile(lambda q: 2 * mx.fast.scaled_dot_product_attention(q, keys, values, scale=SCALE))
    plain = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=SCALE)
    cases.append(
        ["traced", num_rows * NUM_HEADS * length * num_keys, float(mx.abs(traced(queries) - 2 * plain).max())]
    )
    report = {"is_ours": is_ours, "cases": cases, "min_scores": cpu_attention.MIN_SCORES}
    print(json.dumps({**report, "activations": activation_errors()}))


if __name__ == "__main__":
    main()
