"""What would make a model fit that does not. Pure arithmetic, in bytes."""

from __future__ import annotations

from typing import NamedTuple

# Less is not worth a word: keys and values of a few sentences.
LEAST_KV_BYTES = 16 * 1024**2


class Misfit(NamedTuple):
    """A model that does not fit."""

    kind: str
    # As it would be loaded.
    fixed_bytes: int
    weights_bytes: int
    kv_bytes: int
    context_tokens: int
    # Keys and values that the settings ask for; 0: as many as the context needs.
    given_kv_bytes: int
    # Of what was made of pictures.
    image_cache_bytes: int
    # Weights are dense, however they are on the disk.
    is_dense: bool


def would_fit(model: Misfit, free_bytes: int, tokens: int) -> str:
    """What would fit into *free_bytes*; "" when nothing small would do.

    Args:
        model: What does not.
        free_bytes: For all of it.
        tokens: The longest sequence for which what its other parts leave has room.
    """
    left_bytes = free_bytes - model.fixed_bytes
    if model.given_kv_bytes and left_bytes >= LEAST_KV_BYTES:
        return f"{model.kind}.kv_cache_bytes = {left_bytes} would fit"
    if not model.given_kv_bytes and 0 < tokens < model.context_tokens:
        return f"max_context_tokens = {tokens} would fit"
    over_bytes = model.kv_bytes - left_bytes
    if over_bytes <= model.image_cache_bytes:
        return f"{model.kind}.image_cache_bytes = {model.image_cache_bytes - over_bytes} would fit"
    weights_bytes = model.weights_bytes - over_bytes
    if weights_bytes < max(1, model.weights_bytes // 8):
        return ""
    if model.is_dense:
        return f"a model whose weights take at most {in_words(weights_bytes)} as float32 would fit"
    return f"a quantisation whose weights take at most {in_words(weights_bytes)} would fit"


def in_words(num_bytes: int) -> str:
    """A size for people, in decimal units."""
    return f"{num_bytes / 10**9:.1f} GB" if num_bytes >= 10**9 else f"{num_bytes / 10**6:.0f} MB"
