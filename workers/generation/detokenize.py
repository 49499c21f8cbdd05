"""Token ids to text as they come, never splitting a character.

mlx-lm's own detokenizers strip the first space of the answer, show special tokens and may raise at
the end. The text of a token does not depend on its neighbours for byte-level and SentencePiece
vocabularies, so their bytes are joined here; any other tokenizer decodes a short window of tokens.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE = "\u2581"
_REPLACEMENT = "\ufffd"


class Tokenizer(Protocol):
    """What we ask of a transformers tokenizer."""

    all_special_ids: list[int]

    def __len__(self) -> int: ...
    def convert_ids_to_tokens(self, ids: int) -> str | None: ...
    def get_added_vocab(self) -> dict[str, int]: ...
    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...


class Detokenizer(Protocol):
    """The text of one sequence."""

    def add(self, token: int) -> str:
        """Take a token; the text that is certain now, whole characters only."""
        ...


class Vocabulary:
    """The bytes of each token; makes a detokenizer for each sequence."""

    def __init__(self, tokenizer: Tokenizer, decoder: str) -> None:
        """
        Args:
            decoder: "bytes" (GPT-2's alphabet), "spaces" (SentencePiece) or "window" (anything else).
        """
        self._tokenizer = tokenizer
        self._decoder = decoder
        self._special = frozenset(tokenizer.all_special_ids)
        self._added = {token_id: text for text, token_id in tokenizer.get_added_vocab().items()}
        self._known: dict[int, bytes] = {}
        # SentencePiece vocabularies spell the first word of an answer with its space.
        self.leads_with_space = decoder == "spaces"

    def detokenizer(self) -> Detokenizer:
        """For a new sequence."""
        return WindowDetokenizer(self._tokenizer) if self._decoder == "window" else ByteDetokenizer(self)

    def text_bytes(self, token: int) -> bytes:
        """The token's part of the text; nothing for special tokens and ids without a token."""
        return b"" if token in self._special else self.bytes_of(token)

    def special_name(self, token: int) -> str:
        """The name of a special token; "" for others."""
        return self.bytes_of(token).decode(errors="replace") if token in self._special else ""

    def bytes_of(self, token: int) -> bytes:
        """The token itself, also if it is special: what logprobs name it."""
        found = self._known.get(token)
        if found is None:
            found = self._known[token] = self._read(token)
        return found

    def _read(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode()
        piece = self._tokenizer.convert_ids_to_tokens(token) if token < len(self._tokenizer) else None
        if piece is None:
            return b""
        if self._decoder == "bytes":
            return b"".join(_from_alphabet(character) for character in piece)
        if self._decoder == "spaces":
            if match := BYTE_TOKEN.fullmatch(piece):
                return bytes([int(match[1], 16)])
            return piece.replace(SPACE, " ").encode()
        return self._tokenizer.decode([token], skip_special_tokens=False).encode()


class ByteDetokenizer:
    """For vocabularies whose tokens are bytes: constant work a token."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        # Keeps the bytes of an incomplete character; what can never become one is U+FFFD.
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def add(self, token: int) -> str:
        """See `Detokenizer.add`."""
        return self._decode(self._vocabulary.text_bytes(token))


class WindowDetokenizer:
    """For any tokenizer: decodes the tokens since the last certain text, and those before for context."""

    # A byte-fallback character has at most four tokens; longer ends are really broken.
    max_waiting = 8

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []
        self._context_text = ""
        self._waiting: list[int] = []

    def add(self, token: int) -> str:
        """See `Detokenizer.add`."""
        self._waiting.append(token)
        text = self._text(self._context + self._waiting)
        if text.endswith(_REPLACEMENT) and len(self._waiting) < self.max_waiting:
            return ""
        new = text[len(self._context_text) :]
        # Special tokens have no text and are no context: a word after nothing loses its space.
        if new:
            self._context, self._context_text = self._waiting, self._text(self._waiting)
        self._waiting = []
        return new

    def _text(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True)


class TagDetokenizer:
    """Another one, and the names of special tokens that somebody wants to see."""

    def __init__(self, inner: Detokenizer, vocabulary: Vocabulary, shows: Callable[[str], bool]) -> None:
        self._inner = inner
        self._vocabulary = vocabulary
        self._shows = shows

    def add(self, token: int) -> str:
        """See `Detokenizer.add`."""
        text = self._inner.add(token)
        name = self._vocabulary.special_name(token)
        return text + name if name and self._shows(name) else text


class _TokenizerFile(msgspec.Struct, frozen=True):
    """What is read of the megabytes of a tokenizer.json."""

    # Any: what JSON gives.
    decoder: dict[str, Any] | None = None


def decoder_of(folder: Path) -> str:
    """Which of `Vocabulary`'s decoders the tokenizer.json in *folder* asks for."""
    try:
        file = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_TokenizerFile)
    except (OSError, ValueError, RecursionError):
        return "window"
    decoder = file.decoder or {}
    kinds = [decoder.get("type")] + [part.get("type") for part in decoder.get("decoders", ())]
    if "ByteLevel" in kinds:
        return "bytes"
    return "spaces" if "ByteFallback" in kinds else "window"


def _alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes (openai/gpt-2, encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


ALPHABET = _alphabet()


def _from_alphabet(character: str) -> bytes:
    byte = ALPHABET.get(character)
    return character.encode() if byte is None else bytes([byte])
