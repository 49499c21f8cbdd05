"""What a model writes reaches the terminal without control sequences, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.cli.sanitize import MAX_STRING_CHARACTERS, Sanitizer, clean, clean_line

FORBIDDEN = {
    *map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
} - {"\n", "\t"}
# Text in which sequences, whole and broken, are likely.
HOSTILE = st.text(st.sampled_from([*"\x1b\x9b\x9d\x9c\x90\x07\x18\r\n\t[]\\PX^_(0;m@~ aé\u202e\u2066😀"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, é 漢字 😀\n\ttabs", "plain, é 漢字 😀\n\ttabs"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hhome", "home"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;cm0gLXJmIC8=\x1b\\text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x9d0;title\x9ctext", "text"),
        ("\x1bPq#0\x1b\\text", "text"),
        ("\x1b_apc\x1b\\text", "text"),
        ("\x1b(0line", "line"),
        ("\x1bcreset", "reset"),
        ("a\x08b\x00c\x7fd", "abcd"),
        ("a\r\nb", "a\nb"),
        ("over\rwritten", "overwritten"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u2066b\u2069", "ab"),
        ("\x1b[31", ""),
        ("\x1b[3\x18text", "text"),
        ("\x1b[3\x1b[31mtext", "text"),
        ("\x1b]0;never closed\nnext line", "\nnext line"),
        ("\x1b]0;cut\x1b[31mtext", "text"),
        ("\x1b\ntext", "\ntext"),
        ("\x1b[3\ntext", "\ntext"),
        ("\x1b[3é", "é"),
    ],
)
def test_sequences_go_and_text_stays(text: str, expected: str) -> None:
    assert expected == clean(text)


def test_a_string_sequence_without_end_does_not_swallow_the_answer() -> None:
    assert clean("\x1b]" + "x" * MAX_STRING_CHARACTERS + "rest") == "rest"


@given(HOSTILE)
def test_nothing_forbidden_is_left(text: str) -> None:
    assert not FORBIDDEN & set(clean(text))


@given(st.lists(HOSTILE))
def test_the_cuts_do_not_matter(pieces: list[str]) -> None:
    sanitizer = Sanitizer()

    assert clean("".join(pieces)) == "".join(sanitizer.feed(piece) for piece in pieces)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="".join(FORBIDDEN))))
def test_text_without_control_characters_is_untouched(text: str) -> None:
    assert text == clean(text)


@given(HOSTILE)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(text) == clean(clean(text))


@given(HOSTILE)
def test_a_line_is_one_line(text: str) -> None:
    assert not {"\n", "\t", *FORBIDDEN} & set(clean_line(text))
