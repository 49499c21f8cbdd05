"""Penalties on tokens that were used, and logit bias, for all rows that ask in one call.

presence and frequency look at the answer (OpenAI); repetition at prompt and answer (Hugging Face, vLLM).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from workers.generation.params import SamplingParams
from workers.generation.sampling import put_rows, take_rows

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any


class Penalties:
    """What one row needs to know about its tokens; constant work a step."""

    def __init__(
        self, params: SamplingParams, prompt: Sequence[int], answer: Sequence[int], vocab_size: int
    ) -> None:
        self.params = params
        # Shape (vocab_size,): how often each token is in the answer; whether it is in the prompt.
        self.counts = _scattered(answer, [1.0] * len(answer), vocab_size)
        self.in_prompt = _scattered(prompt, [1.0] * len(prompt), vocab_size) > 0
        self.bias = _scattered(list(params.logit_bias), list(params.logit_bias.values()), vocab_size)
        # The token fed first is the last of the prompt, or of the answer so far: counted already.
        self.num_new = 0


def penalise(logits: Array, fed: Array, penalties: Sequence[Penalties | None]) -> Array:
    """Apply the penalties of each row, and count the token that was just fed.

    Args:
        logits: Shape (num_rows, vocab_size).
        fed: The token that each row was given to get its logits, shape (num_rows,).
        penalties: For each row; None leaves it alone.
    """
    rows = [row for row, one in enumerate(penalties) if one is not None]
    if not rows:
        return logits
    states = [one for one in penalties if one is not None]
    counts = mx.stack([one.counts for one in states])
    new = mx.array([float(one.num_new) for one in states])
    counts = counts.at[mx.arange(len(rows)), take_rows(fed, rows)].add(new)
    for state, row_counts in zip(states, counts, strict=True):
        state.counts, state.num_new = row_counts, 1
    in_prompt = mx.stack([one.in_prompt for one in states])
    bias = mx.stack([one.bias for one in states])
    penalised = _apply(take_rows(logits, rows), counts, in_prompt, [one.params for one in states]) + bias
    return put_rows(logits, rows, penalised.astype(logits.dtype))


def _apply(logits: Array, counts: Array, in_prompt: Array, params: Sequence[SamplingParams]) -> Array:
    repetition = _column([one.repetition_penalty for one in params])
    presence = _column([one.presence_penalty for one in params])
    frequency = _column([one.frequency_penalty for one in params])
    is_used = counts > 0
    repeated = mx.where(logits < 0, logits * repetition, logits / repetition)
    logits = mx.where(is_used | in_prompt, repeated, logits)
    return logits - presence * is_used - frequency * counts


def _scattered(tokens: Sequence[int], values: Sequence[float], vocab_size: int) -> Array:
    zeros = mx.zeros((vocab_size,))
    if not tokens:
        return zeros
    return zeros.at[mx.array(tokens)].add(mx.array(values, dtype=mx.float32))


def _column(values: Sequence[float]) -> Array:
    return mx.array(values, dtype=mx.float32)[:, None]
