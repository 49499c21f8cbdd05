"""A picture of a request, what the model made of it, and the store of what it made. Knows no mlx."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from transports.frames import Buffer

# Any: arrays of mlx, which publishes no types that mypy sees outside a worker's environment.
Array = Any


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels as they came; RGB, row by row."""

    digest: bytes
    width: int
    height: int
    pixels: Buffer

    @property
    def key(self) -> int:
        """What a token of this picture is called in the prompt cache; no token id is that large."""
        return int.from_bytes(self.digest[:8], "big") | 1 << 63


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model made of a picture; needed wherever it stands."""

    # Those that stand for it in a prompt.
    tokens: list[int]
    # By mlx-vlm's names; see `model.py`.
    features: dict[str, Array]
    # Patches in time, height and width, shape (1, 3), of models that ask for it.
    grid: Array | None
    size_bytes: int


class SeenPictures:
    """By digest; those used longest ago go first when the bytes run out."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, Seen] = OrderedDict()
        self.size_bytes = 0

    def find(self, digest: bytes) -> Seen | None:
        """What was made of the picture, and count it as used."""
        seen = self._entries.get(digest)
        if seen is not None:
            self._entries.move_to_end(digest)
        return seen

    def keep(self, digest: bytes, seen: Seen) -> None:
        """Store *seen*, if there is room for it at all."""
        if digest in self._entries or seen.size_bytes > self._max_bytes:
            return
        self._entries[digest] = seen
        self.size_bytes += seen.size_bytes
        while self.size_bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.size_bytes -= oldest.size_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size_bytes = 0
