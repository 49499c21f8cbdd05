"""Tokens that a grammar forbids, kept out of the choice of all rows in one call.

llguidance's own kernel for mlx exists for Metal only; this is plain mlx, the same on every device.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import mlx.core as mx
import numpy as np

from workers.generation.constraint import Constraint

# Any: mlx and numpy publish no types that mypy sees outside a worker's environment.
Array = Any
Words = Any

# A mask takes 50 us as a rule and 30 ms at worst for a grammar that is meant well; all rows wait for it.
MASK_TIMEOUT_S = 2.0
# One that is late holds its thread until llguidance gives up: the others need their own.
_MAX_THREADS = 64
_BITS = 32

# Threads start when they are needed, and are used again.
_threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="mask")


def allowed_words(constraints: Sequence[Constraint | None], fed: Sequence[int], vocab_size: int) -> Words:
    """Which tokens each row may choose, a bit each; made side by side, without Python's lock.

    A constraint that is late or at its end has failed; its row may choose anything, and is to be dropped.

    Args:
        constraints: For each row; None allows everything.
        fed: The token that each row was given.

    Returns:
        Shape (num_rows, ceil(vocab_size / 32)), int32.
    """
    words = np.full((len(fed), -(-vocab_size // _BITS)), -1, dtype=np.int32)
    deadline = time.monotonic() + MASK_TIMEOUT_S
    running: list[tuple[Constraint, Future[None]]] = [
        (one, _threads.submit(one.advance, fed[row], words[row]))
        for row, one in enumerate(constraints)
        if one is not None and one.error is None
    ]
    for constraint, future in running:
        try:
            future.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            constraint.fail(f"too complex: the choice of a token took more than {MASK_TIMEOUT_S:g} s")
    for row, one in enumerate(constraints):
        if one is not None and one.error is not None:
            words[row] = -1
    return words


def keep_allowed(logits: Array, words: Words) -> Array:
    """The logits with minus infinity for what is not allowed.

    Args:
        logits: Shape (num_rows, vocab_size).
        words: As `allowed_words` makes them.
    """
    num_rows, vocab_size = logits.shape
    bits = (mx.array(words.view(np.uint32))[:, :, None] >> mx.arange(_BITS, dtype=mx.uint32)) & 1
    allowed = bits.reshape(num_rows, -1)[:, :vocab_size] != 0
    return mx.where(allowed, logits, -mx.inf)
