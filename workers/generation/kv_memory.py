"""How much memory keys and values take, and whether there is enough. Knows no model library.

Written against the caches of mlx-lm 0.32.2, which requirements.lock pins: arrays grow by whole steps, and
in a batch each row is as long as the longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Any: a cache of mlx-lm or mlx-vlm; neither has types.
KvCache = Any


@dataclass(frozen=True, slots=True)
class KvSizes:
    """What one row of a batch takes, in bytes."""

    # Layers that keep every token: bytes a token.
    token_bytes: int
    # Layers that forget: for each size of window, in tokens, bytes a token.
    windows: tuple[tuple[int, int], ...] = ()
    # States that do not grow.
    row_bytes: int = 0
    # Full caches grow by so many tokens.
    step_tokens: int = 0

    @classmethod
    def of(cls, caches: Sequence[KvCache]) -> KvSizes:
        """Measure the caches of a sequence of at least one token, once evaluated."""
        token_bytes = row_bytes = step_tokens = 0
        windows: dict[int, int] = {}
        for cache in _leaves(caches):
            num_places = _num_places(cache)
            step_tokens = max(step_tokens, getattr(cache, "step", 0))
            if not num_places:
                row_bytes += cache.nbytes
            elif window := _window(cache):
                windows[window] = windows.get(window, 0) + cache.nbytes // num_places
            else:
                token_bytes += cache.nbytes // num_places
        return cls(token_bytes, tuple(sorted(windows.items())), row_bytes, step_tokens)

    def batch(self, lengths: Sequence[int], chunk_tokens: int = 0) -> int:
        """Bytes of a batch whose rows have so many tokens, once its caches have grown.

        Args:
            chunk_tokens: Of prompts that are read at once: a window holds them on top, and rows that have
                fewer left are filled up.
        """
        longest = max(lengths, default=0)
        filling = min(chunk_tokens, longest) if len(lengths) > 1 else 0
        places = longest + filling + self.step_tokens
        a_row = self.row_bytes + places * self.token_bytes
        a_row += sum(min(places, window + chunk_tokens) * size for window, size in self.windows)
        return len(lengths) * a_row


class KvBudget:
    """The limit for keys and values of running rows and of the prompt cache together."""

    def __init__(self, sizes: KvSizes, max_bytes: int, chunk_tokens: int) -> None:
        """
        Args:
            max_bytes: 0 for no limit.
            chunk_tokens: See `KvSizes.batch`.
        """
        self._sizes = sizes
        self._chunk_tokens = chunk_tokens
        self.max_bytes = max_bytes

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_bytes > 0

    def needed(self, decoding: Sequence[int], reading: Sequence[int]) -> int:
        """What rows take, with room to grow once, now and when all decode together.

        Args:
            decoding: Lengths of those that do, prompt and answer so far.
            reading: Of those whose prompts are read, beside the others and counted whole.
        """
        apart = self._sizes.batch(decoding) + self._sizes.batch(reading, self._chunk_tokens)
        return max(apart, self._sizes.batch([*decoding, *reading]))

    def left(self, decoding: Sequence[int], reading: Sequence[int]) -> int:
        """What they leave of the limit, for the prompt cache; negative if they do not fit."""
        return self.max_bytes - self.needed(decoding, reading)


def is_full(caches: Sequence[KvCache]) -> bool:
    """Whether a batch with these caches, or a row, must grow for one more token."""
    has_windows = False
    for cache in _leaves(caches):
        if num_places := _num_places(cache):
            if not _window(cache):
                return _length(cache) >= num_places
            has_windows = True
    # Windows grow and turn each in its own way: always to be looked at.
    return has_windows


def _leaves(caches: Iterable[KvCache]) -> Iterator[KvCache]:
    for cache in caches:
        inner = getattr(cache, "caches", None)
        if inner is None:
            yield cache
        else:
            yield from _leaves(inner)


def _num_places(cache: KvCache) -> int:
    """For how many tokens a cache has room; 0 for a state that does not grow."""
    keys = getattr(cache, "keys", None)
    if isinstance(keys, tuple | list):
        # Quantised: values, scales and biases.
        keys = keys[0]
    return 0 if keys is None else int(keys.shape[2])


def _window(cache: KvCache) -> int:
    """How many tokens a cache keeps at most; 0 if it keeps all."""
    return getattr(cache, "max_size", None) or getattr(cache, "chunk_size", None) or 0


def _length(cache: KvCache) -> int:
    """Tokens in a cache; in a batch `offset` is an array, with the place of each row."""
    return cache.offset if isinstance(cache.offset, int) else cache._idx
