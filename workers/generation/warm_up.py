"""Has mlx compile its kernels for CUDA while a model loads, and not while its first requests wait.

It compiles many when they are first used, a large one in half a minute, in which a worker would seem to hang.
Which it takes depends on how many tokens it computes together. It keeps them on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx

from transports.messages import Progress
from workers.engine import OnProgress

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any


def warm_up(
    compute: Callable[[Array], Array],
    device: str,
    *,
    num_rows: int,
    num_tokens: int,
    on_progress: OnProgress,
) -> None:
    """Compute once what steps compute, where *device* is one that compiles.

    Args:
        compute: Tokens of shape (num_rows, num_tokens) to logits.
        device: As from `choose_device`.
        num_rows: Decoded together, at most.
        num_tokens: Of a prompt, read in one step, at most.
        on_progress: Told after each.
    """
    if device != "cuda":
        return
    prompts = [mx.zeros((1, num), mx.int32) for num in _doubled(num_tokens)]
    # What a sampler chose is unsigned.
    decoded = [mx.zeros((num, 1), mx.uint32) for num in _doubled(num_rows)]
    batches = [*prompts, *decoded]
    for done, tokens in enumerate(batches, start=1):
        mx.eval(compute(tokens))
        detail = f"kernels for CUDA {done}/{len(batches)}"
        on_progress(Progress(phase="load", fraction=done / len(batches), detail=detail))
    mx.clear_cache()


def _doubled(most: int) -> Iterator[int]:
    """1, 2, 4, ... and *most*."""
    num = 1
    while num < most:
        yield num
        num *= 2
    yield most
