"""Choose the next token of each row, all rows in one call whatever their parameters.

mlx-lm's samplers take one set of parameters a call, draw from one generator for the whole batch, and
are compiled for each new value (seconds of C++ on a CPU; an error inside leaves the generator unusable).
Here parameters are columns beside the logits, and each row has its own key for each position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from workers.generation.params import SamplingParams, draw

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any


def sample(logits: Array, params: Sequence[SamplingParams], positions: Sequence[int]) -> Array:
    """Draw a token for each row: temperature, then top_k, top_p, min_p, xtc.

    Args:
        logits: Shape (num_rows, vocab_size), after penalties and bias.
        params: For each row.
        positions: For each row, the place of the token in its answer.

    Returns:
        Token ids, shape (num_rows,), uint32.
    """
    best = mx.argmax(logits, axis=-1)
    random = [row for row, one in enumerate(params) if not one.is_greedy]
    if not random:
        return best
    drawn = _draw_rows(
        take_rows(logits, random).astype(mx.float32),
        [params[row] for row in random],
        [positions[row] for row in random],
    )
    return put_rows(best, random, drawn)


def take_rows(array: Array, rows: Sequence[int]) -> Array:
    """The named rows; the array itself when they are all."""
    return array if len(rows) == array.shape[0] else array[mx.array(rows)]


def put_rows(array: Array, rows: Sequence[int], values: Array) -> Array:
    """The array with *values* in the named rows."""
    if len(rows) == array.shape[0]:
        return values
    array[mx.array(rows)] = values
    return array


def _draw_rows(logits: Array, params: Sequence[SamplingParams], positions: Sequence[int]) -> Array:
    vocab_size = logits.shape[-1]
    logits = logits / _column([one.temperature for one in params])
    cut = [row for row, one in enumerate(params) if one.truncates(vocab_size)]
    if cut:
        truncated = _truncate(take_rows(logits, cut), [params[row] for row in cut])
        logits = put_rows(logits, cut, truncated)
    draws = [draw(one.seed, position) for one, position in zip(params, positions, strict=True)]
    xtc = [row for row, one in enumerate(params) if draws[row][2] < one.xtc_probability]
    if xtc:
        thresholds = _column([params[row].xtc_threshold for row in xtc])
        logits = put_rows(logits, xtc, _exclude_top_choices(take_rows(logits, xtc), thresholds))
    keys = mx.array([key[:2] for key in draws], dtype=mx.uint32)
    # The largest of logit + Gumbel noise is a draw from softmax(logits).
    noise = mx.vmap(lambda key: mx.random.gumbel((vocab_size,), key=key))(keys)
    return mx.argmax(logits + noise, axis=-1)


def _truncate(logits: Array, params: Sequence[SamplingParams]) -> Array:
    """Remove what top_k, top_p and min_p cut off; ties with the last kept token stay."""
    num_sorted = max(one.top_k for one in params)
    largest = mx.topk(logits, num_sorted, axis=-1) if num_sorted < logits.shape[-1] else logits
    ordered = -mx.sort(-largest, axis=-1)
    kept = mx.arange(num_sorted) < _column([one.top_k for one in params])
    probabilities = mx.softmax(mx.where(kept, ordered, -mx.inf), axis=-1)
    mass_above = mx.cumsum(probabilities, axis=-1, inclusive=False)
    kept &= mass_above < _column([one.top_p for one in params])
    kept &= probabilities >= _column([one.min_p for one in params]) * probabilities[:, :1]
    last = mx.sum(kept, axis=-1, keepdims=True) - 1
    return mx.where(logits < mx.take_along_axis(ordered, last, axis=-1), -mx.inf, logits)


def _exclude_top_choices(logits: Array, thresholds: Array) -> Array:
    """XTC: of the tokens above the threshold only the least likely one stays."""
    probabilities = mx.softmax(logits, axis=-1)
    above = mx.where(probabilities > thresholds, probabilities, mx.inf)
    return mx.where(probabilities > mx.min(above, axis=-1, keepdims=True), -mx.inf, logits)


def _column(values: Sequence[float]) -> Array:
    return mx.array(values, dtype=mx.float32)[:, None]
