"""Documents follow an editor's edits, in each encoding of positions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.stdio.lsp import documents
from plugins.stdio.lsp.documents import Document, Documents
from plugins.stdio.lsp.positions import Encoding, agreed, index_at, units_at
from plugins.stdio.lsp.shapes import Change, Position, Range

URI = "file:///a.py"
LINE = "a\u00e9\u20ac\U0001f600b"


def at(line: int, character: int) -> Position:
    return Position(line=line, character=character)


def edit(start: Position, end: Position, text: str) -> Change:
    return Change(range=Range(start=start, end=end), text=text)


# --- positions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "units"),
    [
        (Encoding.UTF_8, [0, 1, 3, 6, 10, 11]),
        (Encoding.UTF_16, [0, 1, 2, 3, 5, 6]),
        (Encoding.UTF_32, range(6)),
    ],
)
def test_units_and_characters(encoding: Encoding, units: list[int]) -> None:
    assert [index_at(LINE, one, encoding) for one in units] == [0, 1, 2, 3, 4, 5]
    assert [units_at(LINE, index, encoding) for index in range(6)] == list(units)


def test_half_a_character_is_its_beginning() -> None:
    assert index_at(LINE, 4, Encoding.UTF_16) == 3
    assert index_at(LINE, 8, Encoding.UTF_8) == 3


@pytest.mark.parametrize("encoding", Encoding)
def test_behind_the_line_is_its_end(encoding: Encoding) -> None:
    assert index_at(LINE, 99, encoding) == 5
    assert index_at("ascii", 99, encoding) == 5


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (None, Encoding.UTF_16),
        ([], Encoding.UTF_16),
        (["utf-7"], Encoding.UTF_16),
        (["utf-7", "utf-32", "utf-8"], Encoding.UTF_32),
        (["utf-8", "utf-16"], Encoding.UTF_8),
    ],
)
def test_the_editor_s_first_choice_is_taken(offered: list[str] | None, expected: Encoding) -> None:
    assert agreed(offered) is expected


# --- edits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "change", "expected"),
    [
        ("", edit(at(0, 0), at(0, 0), "x"), "x"),
        ("ab\ncd\n", edit(at(0, 1), at(1, 1), ""), "ad\n"),
        ("ab\ncd\n", edit(at(1, 1), at(0, 1), ""), "ad\n"),
        ("ab\ncd", edit(at(0, 2), at(1, 0), ""), "abcd"),
        ("ab", edit(at(0, 2), at(0, 2), "\n\ncd\n"), "ab\n\ncd\n"),
        ("ab\n", edit(at(7, 3), at(9, 0), "cd"), "ab\ncd"),
        ("ab\r\ncd", edit(at(0, 9), at(0, 9), "!"), "ab!\r\ncd"),
        ("a\rb", edit(at(1, 0), at(1, 0), "\n"), "a\r\nb"),
        ("a\r\nb", edit(at(0, 1), at(1, 0), "\r"), "a\rb"),
        ("a\u2028b\x0cc", edit(at(0, 1), at(0, 1), "!"), "a!\u2028b\x0cc"),
        ("\U0001f600a", edit(at(0, 2), at(0, 3), "b"), "\U0001f600b"),
        ("old\ntext", Change(text="new"), "new"),
    ],
)
def test_an_edit(text: str, change: Change, expected: str) -> None:
    document = Document(text)

    document.apply(change, Encoding.UTF_16)

    assert document.text == expected
    assert document.lines == Document(expected).lines
    assert document.num_chars == len(expected)


def naive(text: str, change: Change, encoding: Encoding) -> str:
    """An edit by its offsets in the whole text."""
    if change.range is None:
        return change.text
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def offset(position: Position) -> int:
        if position.line >= len(starts):
            return len(text)
        line = re.match(r"[^\r\n]*", text[starts[position.line] :])
        assert line is not None
        units = 0
        for index, char in enumerate(line[0]):
            size = len(char.encode(f"{encoding.value}-le" if encoding is not Encoding.UTF_8 else "utf-8"))
            units += size // {Encoding.UTF_8: 1, Encoding.UTF_16: 2, Encoding.UTF_32: 4}[encoding]
            if units > position.character:
                return starts[position.line] + index
        return starts[position.line] + len(line[0])

    start, end = sorted((offset(change.range.start), offset(change.range.end)))
    return text[:start] + change.text + text[end:]


texts = st.text(alphabet="ab\u00e9\U0001f600\r\n", max_size=20)
positions = st.builds(at, st.integers(0, 6), st.integers(0, 8))
changes = st.one_of(
    st.builds(edit, positions, positions, texts), st.builds(lambda text: Change(text=text), texts)
)


@given(texts, st.lists(changes, max_size=6), st.sampled_from(Encoding))
def test_any_edits_give_what_they_give_in_the_whole_text(
    text: str, edits: list[Change], encoding: Encoding
) -> None:
    document = Document(text)
    for change in edits:
        text = naive(text, change, encoding)
        document.apply(change, encoding)

        assert document.text == text
        assert document.lines == Document(text).lines
        assert document.num_chars == len(text)


# --- all documents ----------------------------------------------------------------------------


def test_a_document_lives_from_open_to_close() -> None:
    kept = Documents()
    kept.open(URI, "one")
    kept.change(URI, [edit(at(0, 3), at(0, 3), "!"), edit(at(0, 0), at(0, 1), "O")])

    document = kept.get(URI)
    assert document is not None
    assert document.text == "One!"
    kept.close(URI)
    assert kept.get(URI) is None


def test_opened_again_it_begins_anew() -> None:
    kept = Documents()
    kept.open(URI, "one")
    kept.open(URI, "two")

    document = kept.get(URI)
    assert document is not None
    assert document.text == "two"


def test_changes_of_an_unknown_document_are_ignored() -> None:
    kept = Documents()

    kept.change(URI, [Change(text="x")])
    kept.close(URI)

    assert kept.get(URI) is None


def test_what_does_not_fit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_CHARS", 10)
    kept = Documents()
    kept.open("a", "12345678")
    kept.open("b", "123")
    assert (kept.get("a") is not None, kept.get("b")) == (True, None)

    kept.change("a", [Change(text="x" * 11)])
    assert kept.get("a") is None

    # All of it is free again.
    kept.open("b", "1234567890")
    assert kept.get("b") is not None


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENTS", 1)
    kept = Documents()
    kept.open("a", "")
    kept.open("b", "")

    assert kept.get("b") is None
