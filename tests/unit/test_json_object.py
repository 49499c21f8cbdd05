"""An object's JSON is right as far as it has come, and what is wrong shows at once."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.generation.json_object import MAX_DEPTH, JsonObject

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans(), st.integers(0, 2**32))
def test_what_json_writes_is_taken_however_it_is_cut(value: object, ascii_only: bool, seed: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=Random(seed).choice([None, 1]))
    taken, reader = read(text + "} rest", seed)

    assert taken == text
    assert reader.is_complete


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), st.integers(0, 2**32))
def test_what_is_taken_and_complete_is_json_whatever_was_changed(value: object, seed: int) -> None:
    random = Random(seed)
    text = list(json.dumps(value))
    for _ in range(random.randint(1, 3)):
        text[random.randrange(len(text))] = random.choice('{}[]",:\\u0aE-+.t \n\f')

    taken, reader = read("".join(text), seed)
    at_once = JsonObject()

    assert (taken, reader.is_complete) == (at_once.feed("".join(text))[0], at_once.is_complete)
    if reader.is_complete:
        assert isinstance(json.loads(taken), dict)
    else:
        # Broken, or still to go on; json would not have taken it either.
        assert not is_object("".join(text))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("[1]", ""),
        ('{"a": tru3}', '{"a": tru'),
        ('{"a": 01}', '{"a": 0'),
        ('{"a": 1,}', '{"a": 1,'),
        ('{"a" 1}', '{"a" '),
        ("{'a': 1}", "{"),
        ('{"a": "\\x"}', '{"a": "\\'),
        ('{"a": "\\u12g4"}', '{"a": "\\u12'),
        ('{"a": [1}', '{"a": [1'),
        ('{"a": -}', '{"a": -'),
        ('{"a": NaN}', '{"a": '),
        ('{"a": [1 2]}', '{"a": [1 '),
        ('{"a": 1 2}', '{"a": 1 '),
        ("{1 }", "{"),
    ],
)
def test_the_first_wrong_character_is_not_taken(text: str, good: str) -> None:
    taken, num_taken = (reader := JsonObject()).feed(text)

    assert (good, len(good), True) == (taken, num_taken, reader.is_broken)


def test_line_ends_in_strings_are_escaped() -> None:
    taken, num_taken = JsonObject().feed('{"a": "1\n\t2\f"}\n')

    assert '{"a": "1\\n\\t2\\f"}' == taken
    assert len('{"a": "1\n\t2\f"}') == num_taken


def test_nesting_has_a_bound() -> None:
    reader = JsonObject()

    reader.feed('{"a": ' + "[" * MAX_DEPTH)

    assert reader.is_broken


def test_nesting_has_the_same_bound_behind_a_comma() -> None:
    reader = JsonObject()

    _, num_taken = reader.feed('{"a": ' + "[" * (MAX_DEPTH - 2) + "1, [[1]], ")

    assert reader.is_broken
    assert len('{"a": ' + "[" * (MAX_DEPTH - 2) + "1, [") == num_taken


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def test_numbers_have_a_bound() -> None:
    reader = JsonObject()

    _, num_taken = reader.feed('{"a": ' + "9" * 5000)

    assert reader.is_broken
    assert num_taken < 500


def read(text: str, seed: int) -> tuple[str, JsonObject]:
    """Feed *text* in random pieces."""
    random, reader, taken = Random(seed), JsonObject(), ""
    while text and not reader.is_complete and not reader.is_broken:
        size = random.randint(1, 5)
        shown, num_taken = reader.feed(text[:size])
        taken += shown
        text = text[num_taken:]
    return taken, reader
