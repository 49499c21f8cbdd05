"""A request that may have pictures, from its messages to a row in the batch. Knows no mlx."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transports.messages import Generate
from workers.generation.rows import Row
from workers.vision.pictures import Picture, Seen
from workers.vision.prompts import Piece

# Any: mlx and mlx-vlm publish no types that mypy sees outside a worker's environment.
Array = Any
KvCache = Any


@dataclass(slots=True)
class Reading:
    """How far a row's tokens are read."""

    cache: list[KvCache]
    num_read: int


@dataclass(slots=True)
class VisionRow(Row):
    """A row whose prompt is complete when all its pictures are seen; until then it is the text alone."""

    request: Generate = field(kw_only=True)
    pieces: Sequence[Piece] = field(kw_only=True)
    pictures: Sequence[Picture] = field(kw_only=True)
    # Which of the pictures -> what the model made of it.
    seen: dict[int, Seen] = field(default_factory=dict)
    # Where each picture begins in the prompt, and which.
    places: list[tuple[int, int]] = field(default_factory=list)
    # Shape (3, 1, num_prompt), for models that want it; and what follows the prompt lags behind.
    positions: Array | None = None
    lag: int = 0
    reading: Reading | None = None
    _key: list[int] = field(default_factory=list)

    def unseen(self) -> list[int]:
        """The pictures that the model has not looked at yet."""
        return [piece for piece in self.pieces if isinstance(piece, int) and piece not in self.seen]

    @property
    def num_known(self) -> int:
        """Tokens of the prompt, as far as pictures are seen; before `complete`."""
        pictures = (piece for piece in self.pieces if isinstance(piece, int) and piece in self.seen)
        return len(self.prompt) + sum(len(self.seen[picture].tokens) for picture in pictures)

    def complete(self) -> None:
        """Put the tokens of the pictures into the prompt; all are seen, and their pixels no longer needed."""
        self.pictures = [replace(picture, pixels=b"") for picture in self.pictures]
        self.prompt = []
        for piece in self.pieces:
            if isinstance(piece, int):
                self.places.append((len(self.prompt), piece))
                self._key += [self.pictures[piece].key] * len(self.seen[piece].tokens)
                self.prompt += self.seen[piece].tokens
            else:
                self._key += piece
                self.prompt += piece

    def token_names(self, tokens: Sequence[int]) -> Sequence[int]:
        """See `Row.token_names`: a picture's own number for each of its tokens."""
        return [*self._key[: len(tokens)], *tokens[len(self._key) :]]

    def parts(self, start: int, end: int) -> Iterator[tuple[int | None, int, int]]:
        """Where the tokens [start, end) come from.

        Yields:
            A picture or None for text; and from where to where, within the picture or within the tokens.
        """
        at = start
        for begin, picture in self.places:
            close = begin + len(self.seen[picture].tokens)
            if close <= at or begin >= end:
                continue
            if at < begin:
                yield None, at, begin
                at = begin
            yield picture, at - begin, min(end, close) - begin
            at = min(end, close)
        if at < end:
            yield None, at, end
