"""How fast long prompts are read beside running answers, so that those keep their pace. Knows no mlx."""

from __future__ import annotations

MIN_TOKENS = 4
# Before anything is known.
FIRST_TOKENS = 16
# Of a step in the mean of all.
_WEIGHT = 0.2
_SHORTEST_S = 1e-6


class PrefillPace:
    """The size of the next chunk of a long prompt, from how long steps took."""

    def __init__(self, max_tokens: int, share: float) -> None:
        """
        Args:
            max_tokens: Of a chunk, whatever the time.
            share: What reading may take of the time of the decode step beside it; 0 for no limit.
        """
        self._max_tokens = max_tokens
        self._share = share
        self._decode_s = 0.0
        self.chunk_tokens = min(FIRST_TOKENS, max_tokens) if share else max_tokens

    def step(self, seconds: float, num_read: int) -> None:
        """A decode step took so long, with *num_read* tokens of prompts that were read in it."""
        if num_read:
            self.read(seconds - self._decode_s, num_read)
        else:
            mean = self._decode_s or seconds
            self._decode_s = mean + _WEIGHT * (seconds - mean)

    def read(self, seconds: float, num_tokens: int) -> None:
        """Reading a chunk took so long, beside the decode step."""
        if not self._decode_s or not self._share:
            return
        fitting = fitting_tokens(self.chunk_tokens, num_tokens, seconds, self._share * self._decode_s)
        self.chunk_tokens = int(min(max(fitting, MIN_TOKENS), self._max_tokens))


def fitting_tokens(chunk_tokens: int, num_read: int, seconds: float, wanted_s: float) -> float:
    """The size of the next chunk, which is to take *wanted_s*, after *num_read* tokens took *seconds*.

    Not all the way at once from *chunk_tokens*: a chunk also takes time that does not depend on its size.
    """
    fitting = num_read * wanted_s / max(seconds, _SHORTEST_S)
    return min(max(fitting, chunk_tokens / 2), chunk_tokens * 2)
