"""Keys and values of finished sequences, for prompts that begin like them. Knows no model library.

Owned by the engine thread. What a cache is and how it is cut is the caller's business.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Cache = TypeVar("Cache")


@dataclass(frozen=True, slots=True)
class CacheHit(Generic[Cache]):
    """A stored cache that begins with `num_cached` tokens of the prompt asked for."""

    # Shared with the store: copy before changing it.
    cache: Cache
    # At least 1, and less than the length of the prompt: one token must be left to compute.
    num_cached: int
    # Tokens in `cache`, at least `num_cached`.
    num_stored: int


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Cache]):
    cache: Cache
    num_tokens: int
    size_bytes: int


class PromptCache(Generic[Cache]):
    """Least recently used entries go first when the bytes run out."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Tokens as bytes, so that prefixes are compared by memcmp; oldest use first.
        self._entries: OrderedDict[bytes, _Entry[Cache]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def match(self, tokens: Sequence[int], min_cached: int = 1) -> CacheHit[Cache] | None:
        """Find the entry with the longest common prefix, and count it as used.

        Args:
            tokens: Token ids of the prompt, shape (num_tokens,); of a token whose keys and values depend
                on more than its id, another number below 2**64.
            min_cached: A shorter prefix is no hit.
        """
        wanted = _key(tokens[:-1])
        best, best_length = None, 0
        for key in self._entries:
            # Newer entries come later and win a tie: they are the ones likely to stay.
            if (length := _common_prefix(wanted, key)) >= max(best_length, 1):
                best, best_length = key, length
        if best is None or best_length < min_cached:
            return None
        self._entries.move_to_end(best)
        entry = self._entries[best]
        return CacheHit(cache=entry.cache, num_cached=best_length, num_stored=entry.num_tokens)

    def store(self, tokens: Sequence[int], cache: Cache, size_bytes: int) -> None:
        """Keep *cache*, which holds exactly *tokens*; entries that it begins with are dropped."""
        key = _key(tokens)
        if not key or size_bytes > self._max_bytes:
            return
        for other in [other for other in self._entries if key.startswith(other)]:
            self._drop(other)
        self._entries[key] = _Entry(cache, len(tokens), size_bytes)
        self.size_bytes += size_bytes
        self.shrink(self._max_bytes)

    def shrink(self, max_bytes: float) -> None:
        """Drop entries until at most so many bytes are kept."""
        while self._entries and self.size_bytes > max_bytes:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size_bytes = 0

    def _drop(self, key: bytes) -> None:
        self.size_bytes -= self._entries.pop(key).size_bytes


# Bytes of a token in a key.
_TOKEN_BYTES = array("Q").itemsize


def _key(tokens: Sequence[int]) -> bytes:
    return array("Q", tokens).tobytes()


def _common_prefix(a: bytes, b: bytes) -> int:
    """Number of tokens at the start of both keys that are the same."""
    low, high = 0, min(len(a), len(b)) // _TOKEN_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        if a.startswith(b[: middle * _TOKEN_BYTES]):
            low = middle
        else:
            high = middle - 1
    return low
