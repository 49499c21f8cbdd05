"""The hidden states of a batch to one vector a row."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from workers.embedding.recipe import Recipe

# Any: mlx publishes no types that mypy sees outside a worker's environment.
Array = Any

# As torch.nn.functional.normalize has it.
MIN_LENGTH = 1e-12


def pool(hidden: Array, mask: Array, recipe: Recipe) -> Array:
    """Vectors of float32, shape (num_rows, hidden_size).

    Args:
        hidden: Shape (num_rows, num_tokens, hidden_size).
        mask: 1 for tokens and 0 for padding, which is on the right; shape (num_rows, num_tokens).
    """
    hidden = hidden.astype(mx.float32)
    lengths = mask.sum(axis=1, keepdims=True)
    match recipe.pooling:
        case "cls":
            vectors = hidden[:, 0]
        case "lasttoken":
            vectors = hidden[mx.arange(hidden.shape[0]), lengths[:, 0] - 1]
        case "max":
            vectors = mx.where(mask[:, :, None] == 1, hidden, -mx.inf).max(axis=1)
        case "mean" | "mean_sqrt_len_tokens" as name:
            total = (hidden * mask[:, :, None]).sum(axis=1)
            vectors = total / (lengths if name == "mean" else mx.sqrt(lengths.astype(mx.float32)))
    return normalized(vectors) if recipe.normalizes else vectors


def normalized(vectors: Array) -> Array:
    """Each row at length 1."""
    return vectors / mx.maximum(mx.linalg.norm(vectors, axis=1, keepdims=True), MIN_LENGTH)
