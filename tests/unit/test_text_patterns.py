"""Patterns for grammars; what llguidance makes of them, tests/models/test_forced_calls.py shows."""

from __future__ import annotations

import re

import pytest

from workers.generation.text_patterns import found_in, literal, without


def python(source: str) -> str:
    """Rust's way to write a character, as Python has it."""
    return re.sub(r"\\u\{([0-9a-f]+)\}", lambda match: re.escape(chr(int(match[1], 16))), source)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("b", ["b", "abc", "\nb\n"], ["a"]),
        ("^ab$", ["ab"], ["xab", "abx", "ab\n"]),
        ("^a|b$", ["a", "ax", "b", "xb"], ["xa", "bx"]),
        ("^(a|b)+$", ["abba"], ["", "c"]),
        (r"^\d{2,}-\w*$", ["12-", "123-a_9"], ["1-", "12-é", "१२-"]),
        (r"^\S+$", ["é"], ["a b", "a b"]),
        (r"^[^\d]$", ["a"], ["5", "५"]),
        (r"^[\w.-]+$", ["a.b-c"], ["a b"]),
        (r"^[a-c\]]+?$", ["a]b"], ["d"]),
        ("^.$", ["a", "\t"], ["\n", "\u2028", ""]),
        (r"^\x41\u00e9\/\.$", ["Aé/."], ["Aé/x"]),
        ("x/y", ["ax/yb"], ["x-y"]),
        (r"^[\u0041-\u0043]$", ["B"], ["D"]),
    ],
)
def test_a_pattern_is_found_where_it_would_be(pattern: str, matching: list[str], other: list[str]) -> None:
    source = found_in(pattern)
    assert source is not None
    found = re.compile(python(source).replace(r"\p{N}", ""))

    assert matching == [text for text in [*matching, *other] if found.fullmatch(text)]


@pytest.mark.parametrize(
    "pattern",
    [
        *("(", "(?=a)", "(?<!a)b", r"(a)\1", r"\bfoo", "a^b", "a$b", "(^a)", "(a$)", "[]", "[b-a]"),
        *(r"\p{L}", r"\ud800", "a**", "a{,3}", "(?i)a", "a*+", r"\Z", "(?P<x>a)", "a" * 2001),
    ],
)
def test_what_no_grammar_can_say_is_none(pattern: str) -> None:
    assert found_in(pattern) is None


@pytest.mark.parametrize(
    ("text", "has_it"),
    [
        ("", False),
        ("</end>", True),
        ("a</end>b", True),
        ("</en</end>", True),
        ("<<</other>", True),
        ("</end", False),
        ("</ends>", False),
        ("a < b <c> </d>\n", False),
        ("</other", False),
    ],
)
def test_a_pattern_without_lookahead_knows_texts_without_tags(text: str, has_it: bool) -> None:
    assert has_it == (re.search(without(["</end>", "</other>"]), text) is None)


def test_one_tag_may_begin_another() -> None:
    pattern = without(["<a", "<abc"])

    assert [True, False, False] == [bool(re.search(pattern, one)) for one in ("<b", "<a", "<abc")]


def test_a_literal_is_itself() -> None:
    assert r"<\|\"\|>\/\x0a".replace(r"\"", '"') == literal('<|"|>/\n')
