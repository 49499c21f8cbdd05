"""Stop tokens: which tokens end a row's answer, as mlx-lm's generator takes them."""

from __future__ import annotations

from mlx_lm.generate import StopSequences

from workers.generation.fim import Fim
from workers.generation.rows import Row


class StopTokens:
    """The end tokens of one model."""

    def __init__(self, eos: frozenset[int], fim: Fim | None) -> None:
        self._eos = _sequences(eos)
        self._of_middle = _sequences(eos | fim.ends) if fim else self._eos
        self._none = StopSequences(None)

    def of(self, row: Row) -> StopSequences:
        """What ends *row*."""
        if row.ignores_eos:
            return self._none
        return self._of_middle if row.fills_middle else self._eos


def _sequences(tokens: frozenset[int]) -> StopSequences:
    return StopSequences([(token,) for token in sorted(tokens)] or None)
