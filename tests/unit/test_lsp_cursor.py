"""What a model is asked at a cursor, and what of its answer is offered."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from msgspec import Raw

from plugins.stdio.lsp.cursor import Cursor, cursor_at
from plugins.stdio.lsp.documents import Document, Place
from plugins.stdio.lsp.offers import completion_list, inline_list, offered
from plugins.stdio.lsp.options import Options, read_options, read_settings
from plugins.stdio.lsp.shapes import Position, Range

WHERE = Range(start=Position(line=1, character=2), end=Position(line=1, character=4))


# --- the text around it -----------------------------------------------------------------------


def test_the_text_before_and_after() -> None:
    cursor = cursor_at(Document("a\r\nbcd\re"), Place(1, 2), 100, 100)

    assert (cursor.before, cursor.after, cursor.rest) == ("a\nbc", "d\ne", "d")


def test_the_text_after_is_cut_at_its_end() -> None:
    cursor = cursor_at(Document("abc\ndef\nghi"), Place(0, 1), 100, 5)

    assert cursor.after == "bc\nde"


def test_a_long_line_is_cut_before_the_cursor() -> None:
    cursor = cursor_at(Document("x" * 50 + "yz"), Place(0, 51), 10, 10)

    assert (cursor.before, cursor.after) == ("x" * 9 + "y", "z")


def test_where_it_begins_stays_over_many_keystrokes() -> None:
    """Each new beginning is a prompt that no cache knows."""
    lines = "".join(f"line {number:04}\n" for number in range(100))
    begins = set()
    for typed in range(100):
        document = Document(lines + "x" * typed)
        before = cursor_at(document, Place(100, typed), 400, 0).before
        begins.add(before[:9])
        assert before.startswith("line ")
        assert 150 < len(before) <= 400
    assert len(begins) <= 2


def test_where_it_begins_stays_over_many_lines() -> None:
    """Also with the cursor in the middle: what stands below does not matter."""
    document = Document("".join(f"line {number:04}\n" for number in range(400)))
    begins = [cursor_at(document, Place(number, 0), 400, 400).before[:9] for number in range(100, 200)]

    assert len(set(begins)) <= 8
    assert begins == sorted(begins)


def test_a_document_that_fits_is_shown_from_its_start() -> None:
    assert cursor_at(Document("a\n" * 9), Place(9, 0), 18, 0).before == "a\n" * 9


class Watched(list[str]):
    """Lines that are looked at one by one, and counted."""

    num_seen = 0

    def __getitem__(self, index: object) -> str:  # type: ignore[override]
        assert isinstance(index, int)
        self.num_seen += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all lines were looked at")


def test_a_key_in_a_long_document_looks_at_few_lines() -> None:
    document = Document("0123456789\n" * 50_000)
    document.lines = lines = Watched(document.lines)
    cursor = cursor_at(document, Place(25_000, 5), 1000, 1000)

    assert (500 <= len(cursor.before) <= 1000, len(cursor.after)) == (True, 1000)
    assert lines.num_seen < 400


@pytest.mark.parametrize(
    ("before", "word"),
    [("a.foo_1", "foo_1"), ("a.", ""), ("", ""), ("x = gr\u00f6", "gr\u00f6"), ("a b\n", "")],
)
def test_the_word_before_it(before: str, word: str) -> None:
    assert Cursor(before, "").word == word


def test_an_answer_within_a_line_ends_with_it() -> None:
    assert Cursor("f(", ")\nx").stops == ("\n",)
    assert Cursor("f()", "  \nx").stops == ("\n\n",)


# --- what is offered --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "after", "has_seen_after", "expected"),
    [
        ("x = 1\n  ", "\ny", True, "x = 1"),
        (" \n ", "", True, ""),
        # It belongs there: the model knows what follows.
        ("len(x)", ")", True, "len(x)"),
        ("a, b):", "):\n", False, "a, b"),
        ("a, b", "):\n", False, "a, b"),
        ("a\n", "\n", False, "a"),
        ("):", "):", False, ""),
    ],
)
def test_what_is_offered(answer: str, after: str, has_seen_after: bool, expected: str) -> None:
    assert offered(answer, Cursor("f(", after), has_seen_after=has_seen_after) == expected


def test_nothing_is_an_empty_list() -> None:
    assert inline_list("", WHERE) == {"items": []}
    assert completion_list("", WHERE, "m") == {"isIncomplete": True, "items": []}


def test_an_inline_item() -> None:
    assert inline_list("a\nb", WHERE) == {"items": [{"insertText": "a\nb", "range": WHERE}]}


def test_a_completion_item_shows_its_first_line() -> None:
    (item,) = completion_list("\n  " + "x" * 90 + "\nb", WHERE, "m")["items"]  # type: ignore[misc]

    assert item["label"] == "x" * 79 + "…"
    assert item["textEdit"] == {"range": WHERE, "newText": "\n  " + "x" * 90 + "\nb"}


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [b"null", b"{}", b"[]", b'{"mlxd":{}}', b'{"mlxd":null}', b'{"mlxd":[],"python":{"a":1}}']
)
def test_without_options_there_are_defaults(said: bytes) -> None:
    assert read_options(Raw(said)) == Options()


@pytest.mark.parametrize(
    "said", [b'{"model":"a/b","maxTokens":5}', b'{"mlxd":{"model":"a/b","maxTokens":5},"x":{}}']
)
def test_options_stand_alone_or_in_our_section(said: bytes) -> None:
    assert read_options(Raw(said)) == Options(model="a/b", max_tokens=5)


@pytest.mark.parametrize("said", [b'{"maxTokens":0}', b'{"maxtokens":5}', b'{"model":5}', b"5", b'"x"'])
def test_wrong_options_are_refused(said: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_options(Raw(said))


FIRST = Options(model="a/b", max_tokens=5)


@pytest.mark.parametrize(
    "said", [b"null", b"{}", b"[]", b'{"python":{"model":5}}', b'{"mlxd":{}}', b'{"mlxd":null}']
)
def test_settings_that_say_nothing_of_us_change_nothing(said: bytes) -> None:
    """Editors send all that they have."""
    assert read_settings(Raw(said), FIRST) == FIRST


@pytest.mark.parametrize("said", [b'{"maxTokens":9}', b'{"mlxd":{"maxTokens":9},"python":{}}'])
def test_settings_go_before_the_first_options(said: bytes) -> None:
    assert read_settings(Raw(said), FIRST) == Options(model="a/b", max_tokens=9)


@pytest.mark.parametrize(
    "said", [b'{"mlxd":{"modle":"x"}}', b'{"mlxd":5}', b'{"maxTokens":0}', b'{"mlxd":[1]}']
)
def test_wrong_settings_are_refused(said: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_settings(Raw(said), FIRST)
