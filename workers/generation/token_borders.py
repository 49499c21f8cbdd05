"""How many tokens a text has at least, without making them.

Two characters that stand beside each other in no token of a vocabulary have a border between two tokens
wherever they meet in a text, as a letter and a space behind it do in most. To count such borders takes a
hundredth of the time that making tokens does, and finds four in five of them in code, nine in ten in prose.
What stands between two and is no token has one more within; that takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from workers.generation.detokenize import ALPHABET, BYTE_TOKEN, SPACE

# Any: a tokenizer of transformers behind mlx-lm's wrapper; neither has types.
Tokenizer = Any
# Any: numpy publishes no types that mypy sees outside a worker's environment.
Array = Any

# Looked at in one go.
_CHUNK_CHARS = 16 * 1024
# How tokens are written: in GPT-2's alphabet, or as SentencePiece does it.
_SPELLINGS: Sequence[Mapping[int, str]] = (
    {ord(character): chr(byte) for character, byte in ALPHABET.items()},
    {ord(SPACE): " "},
)
# The characters that are looked at: a normalizer may make one of several others.
_KNOWN = "\n\t" + "".join(map(chr, range(0x20, 0x7F)))
_SPACES = "\n\t "
# What a tokenizer must neither change nor leave out.
_PROBE = " x" + "".join(f"{one}{one}{one} {one}\n{one}" for one in _KNOWN) + " \n "
# Those, and what is none of ASCII's.
_LOOKED_AT = _KNOWN.encode() + bytes(range(0x80, 0x100))
# Between tokens; of no interest, as it is none of the known.
_BETWEEN = "\xff"


class TokenBorders:
    """The pairs of characters that are always torn."""

    def __init__(self, tokens: str, swallowing: Sequence[str] = ()) -> None:
        """
        Args:
            tokens: All of a vocabulary, as they stand in texts, with no ASCII characters between them.
            swallowing: Those that take the spaces around them with them.
        """
        # By the two bytes of a pair, the first one lowest.
        is_border = np.zeros((256, 256), bool)
        known = np.frombuffer(_KNOWN.encode(), np.uint8)
        is_border[np.ix_(known, known)] = True
        _clear(is_border, tokens)
        for token in swallowing:
            inside = [f"{one}{token}{one}" for one in _SPACES] + [f"{a}{b}" for a in _SPACES for b in _SPACES]
            _clear(is_border, _BETWEEN.join(inside))
        self._is_border = is_border.reshape(-1)
        words = {token.encode() for token in tokens.split(_BETWEEN) if token.isascii()}
        # Behind a special token some tokenizers put a space of their own.
        words |= {token.removeprefix(b" ") for token in words}
        # Of a character some have only its byte.
        words |= {character.encode() for character in _KNOWN}
        self._words = None if swallowing else words

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> TokenBorders | None:
        """Of a model's tokenizer; None if that makes other characters of some, or leaves some out."""
        names = tokenizer.convert_ids_to_tokens(tokenizer.encode(_PROBE, add_special_tokens=False))
        written = BYTE_TOKEN.sub(lambda found: chr(int(found[1], 16)), "".join(names))
        added = tokenizer.added_tokens_decoder.values()
        for spelling in _SPELLINGS:
            # Some have a space before every text.
            if written.translate(spelling) in (_PROBE, f" {_PROBE}"):
                tokens = _BETWEEN.join(tokenizer.get_vocab()).translate(spelling)
                swallowing = [str(one) for one in added if str(one) and (one.lstrip or one.rstrip)]
                return cls(_BETWEEN.join((tokens, *map(str, added))), swallowing)
        return None

    def count(self, text: str, enough: int) -> tuple[int, int]:
        """How many tokens *text* has at least, and in how many of its characters they were seen.

        Args:
            enough: No more is looked at once there are so many.
        """
        at_least, end = 1 if text else 0, 0
        while end < len(text) and at_least < enough:
            # With the last character of what was seen: it may have a border behind it.
            data = text[max(0, end - 1) : end + _CHUNK_CHARS].encode(errors="surrogatepass")
            end = min(end + _CHUNK_CHARS, len(text))
            at_least += int(np.count_nonzero(self._borders(data)))
        for begin in range(0, len(text), _CHUNK_CHARS):
            if at_least >= enough:
                break
            at_least += self._num_torn(text[begin : begin + _CHUNK_CHARS].encode(errors="surrogatepass"))
        return at_least, end

    def _borders(self, data: bytes) -> Array:
        """Whether there is one behind each byte but the last."""
        found = np.zeros(max(0, len(data) - 1), bool)
        for begin in (0, 1):
            pairs = np.frombuffer(data, "<u2", (len(data) - begin) // 2, begin)
            found[begin::2] = self._is_border[pairs]
        return found

    def _num_torn(self, data: bytes) -> int:
        """How much of what stands between two borders is no token."""
        if self._words is None or data.translate(None, _LOOKED_AT):
            return 0
        places = (np.flatnonzero(self._borders(data)) + 1).tolist()
        parts = (data[begin:end] for begin, end in pairwise(places))
        return sum(part not in self._words and part.isascii() for part in parts)


def _clear(is_border: Array, tokens: str) -> None:
    """Note that there is no border within *tokens*."""
    data = np.frombuffer(tokens.encode(errors="surrogatepass"), np.uint8)
    is_border[data[1:], data[:-1]] = False
