"""Token ids to text: no character is split, no space lost, whatever the tokens are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.generation.detokenize import Vocabulary, decoder_of

# GPT-2's stand-ins: "Ġ" is a space, "ðŁ¦Ĭ" the four bytes of a fox, "Ã©" an e with an accent.
BYTE_PIECES = ["<end>", "Hello", "Ġworld", "ðŁ", "¦", "Ĭ", "<think>", "Ġ", "Ã", "©", "!"]
SPACE_PIECES = [
    "<end>",
    "▁Hello",
    "▁world",
    "<0xF0>",
    "<0x9F>",
    "<0xA6>",
    "<0x8A>",
    "!",
    "▁",
    "日本",
    "<0x0A>",
]


class FakeTokenizer:
    """A list of pieces; id 0 is special, pieces in angle brackets were added."""

    all_special_ids = [0]  # noqa: RUF012

    def __init__(self, pieces: list[str], alphabet: dict[str, bytes] | None = None) -> None:
        self.pieces = pieces
        self.alphabet = alphabet or {}

    def __len__(self) -> int:
        return len(self.pieces)

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        return self.pieces[ids]

    def get_added_vocab(self) -> dict[str, int]:
        return {piece: at for at, piece in enumerate(self.pieces) if piece in {"<end>", "<think>"}}

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The pieces' bytes; the first space of all is dropped, as by SentencePiece."""
        kept = [one for one in token_ids if not (skip_special_tokens and one in self.all_special_ids)]
        return (
            b"".join(self.alphabet[self.pieces[one]] for one in kept)
            .decode(errors="replace")
            .removeprefix(" ")
        )


def spoken(vocabulary: Vocabulary, tokens: Sequence[int]) -> list[str]:
    detokenizer = vocabulary.detokenizer()
    return [detokenizer.add(token) for token in tokens]


@pytest.fixture
def byte_vocabulary() -> Vocabulary:
    return Vocabulary(FakeTokenizer(BYTE_PIECES), "bytes")


@pytest.fixture
def space_vocabulary() -> Vocabulary:
    return Vocabulary(FakeTokenizer(SPACE_PIECES), "spaces")


def test_a_leading_space_is_kept(byte_vocabulary: Vocabulary, space_vocabulary: Vocabulary) -> None:
    assert spoken(byte_vocabulary, [2, 10]) == [" world", "!"]
    assert spoken(space_vocabulary, [2, 7]) == [" world", "!"]


def test_a_character_comes_with_its_last_byte(
    byte_vocabulary: Vocabulary, space_vocabulary: Vocabulary
) -> None:
    assert spoken(byte_vocabulary, [1, 3, 4, 5, 10]) == ["Hello", "", "", "🦊", "!"]
    assert spoken(space_vocabulary, [3, 4, 5, 6, 9]) == ["", "", "", "🦊", "日本"]


def test_special_tokens_are_not_shown(byte_vocabulary: Vocabulary) -> None:
    assert spoken(byte_vocabulary, [1, 0, 10]) == ["Hello", "", "!"]


def test_added_tokens_are_shown_as_they_are(byte_vocabulary: Vocabulary) -> None:
    assert spoken(byte_vocabulary, [6, 1]) == ["<think>", "Hello"]


def test_a_special_token_inside_a_character_does_no_harm(byte_vocabulary: Vocabulary) -> None:
    assert spoken(byte_vocabulary, [3, 0, 4, 5]) == ["", "", "", "🦊"]


def test_bytes_that_are_no_character_become_a_replacement(byte_vocabulary: Vocabulary) -> None:
    assert "".join(spoken(byte_vocabulary, [3, 1])) == "\ufffdHello"


def test_an_id_without_a_token_is_nothing(byte_vocabulary: Vocabulary) -> None:
    assert spoken(byte_vocabulary, [1, len(BYTE_PIECES) + 5]) == ["Hello", ""]


def test_logprobs_name_special_tokens(byte_vocabulary: Vocabulary) -> None:
    assert byte_vocabulary.bytes_of(0) == b"<end>"
    assert byte_vocabulary.text_bytes(0) == b""


@given(st.lists(st.integers(0, len(BYTE_PIECES) - 1), max_size=30))
def test_pieces_join_to_the_text_of_all_bytes(tokens: list[int]) -> None:
    vocabulary = Vocabulary(FakeTokenizer(BYTE_PIECES), "bytes")
    everything = b"".join(map(vocabulary.text_bytes, tokens)).decode(errors="replace")

    text = "".join(spoken(vocabulary, tokens))

    assert everything.startswith(text)
    assert everything[len(text) :].strip("\ufffd") == ""


WINDOW_PIECES = {"<end>": b"<end>", " a": b" a", " b": b" b", "1": b"\xf0\x9f", "2": b"\xa6", "3": b"\x8a"}


def test_any_tokenizer_works_through_a_window() -> None:
    vocabulary = Vocabulary(FakeTokenizer(list(WINDOW_PIECES), WINDOW_PIECES), "window")

    assert spoken(vocabulary, [1, 2, 3, 4, 5, 0, 2]) == ["a", " b", "", "", "🦊", "", " b"]


def test_a_window_gives_up_on_bytes_that_stay_broken() -> None:
    vocabulary = Vocabulary(FakeTokenizer(list(WINDOW_PIECES), WINDOW_PIECES), "window")

    assert "\ufffd" in "".join(spoken(vocabulary, [3] * 20))


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        ({"type": "ByteLevel"}, "bytes"),
        ({"type": "Sequence", "decoders": [{"type": "ByteLevel"}]}, "bytes"),
        ({"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}]}, "spaces"),
        ({"type": "WordPiece"}, "window"),
        (None, "window"),
    ],
)
def test_the_decoder_is_read_from_the_tokenizer(tmp_path: Path, decoder: object, expected: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"decoder": decoder}))

    assert decoder_of(tmp_path) == expected


def test_without_a_tokenizer_json_a_window_is_used(tmp_path: Path) -> None:
    assert decoder_of(tmp_path) == "window"
