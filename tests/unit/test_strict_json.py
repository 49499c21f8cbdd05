"""JSON that msgspec takes and we refuse, and what costs too much."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.known_fields import Known
from plugins.strict_json import (
    MAX_COUNTED_BYTES,
    MAX_DEPTH,
    MAX_KEY_BYTES,
    MAX_STEP_BYTES,
    MAX_TOKENS,
    UTF8_CHUNK_BYTES,
    check_json,
)
from transports.errors import RequestError

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES, st.booleans())
def test_what_json_writes_passes(value: object, ascii_only: bool) -> None:
    try:
        data = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return

    check_json(data)


@settings(deadline=None)
@given(st.text(), st.dictionaries(st.text(), VALUES, max_size=3))
def test_a_key_twice_is_found_however_it_is_written(key: str, others: dict[str, object]) -> None:
    try:
        plain, escaped = json.dumps(key, ensure_ascii=False).encode(), json.dumps(key).encode()
    except UnicodeEncodeError:
        return
    inside = b"".join(b"%b: 1," % json.dumps(other).encode() for other in others if other != key)
    data = b'[{"x": {%b: [], %b%b: {}}}]' % (plain, inside, escaped)

    with pytest.raises(RequestError, match="is there twice"):
        check_json(data)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_junk_is_refused_or_left_to_the_decoder(data: bytes) -> None:
    with contextlib.suppress(RequestError):
        check_json(data)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=MAX_STEP_BYTES // 4), VALUES, max_size=5), st.booleans())
def test_the_outermost_keys_are_found(value: dict[str, object], ascii_only: bool) -> None:
    assert list(value) == check_json(json.dumps(value, ensure_ascii=ascii_only).encode(), Known()).own


def test_an_unknown_key_is_found_at_each_depth_where_it_first_stands() -> None:
    turn = Known({b'"role"': None, b'"parts"': Known(items=Known({b'"text"': None}))})
    known = Known({b'"turns"': Known(items=turn), b'"schema"': None})
    body = {
        "new": 1,
        "schema": {"of": {"any": "kind"}},
        "turns": [
            {"role": "x", "parts": [{"text": "x"}, {"text": '[{"no": 1}]', "more": [{"text": 1}]}]},
            {"role": "x", "role2": [], "parts": [{"more": 1}], "turns": {"text": 1}},
        ],
    }

    unknown = check_json(json.dumps(body).replace('"more"', '"\\u006dore"').encode(), known)

    assert ["new"] == unknown.own
    assert ["turns[0].parts[1].more", "turns[1].role2", "turns[1].turns"] == unknown.within


@pytest.mark.parametrize("num_before", range(4))
def test_a_character_is_whole_wherever_the_body_is_cut(num_before: int) -> None:
    good = b'"' + b"x" * (UTF8_CHUNK_BYTES - 1 - num_before) + "🙂".encode() + b'"'
    at = UTF8_CHUNK_BYTES - num_before + 2

    check_json(good)
    with pytest.raises(RequestError, match=f"got byte 0x.. at ({at}|{at - 2})$"):
        check_json(good[:at] + b'"' + good[at + 1 :])
    with pytest.raises(RequestError, match="UTF-8"):
        check_json(good[: at + 1])


def test_depth_is_limited() -> None:
    check_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(RequestError, match="nesting"):
        check_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_values_are_limited() -> None:
    check_json(b"[" + b'"",' * (MAX_TOKENS - 3) + b'""]')
    with pytest.raises(RequestError, match="at most"):
        check_json(b"[" + b"{}," * MAX_TOKENS + b"{}]")
    # Too large to be counted before it is looked at.
    with pytest.raises(RequestError, match="at most"):
        check_json(b"[" + b'"",' * MAX_TOKENS + b" " * MAX_COUNTED_BYTES + b"0]")


@pytest.mark.parametrize(
    "unit",
    [b"{}", b'\\"', b"\\\\{", b"[\\n", "é}".encode()],
    ids=["plain", "quotes", "backslashes", "escapes", "é"],
)
def test_what_stands_in_a_string_is_not_counted(unit: bytes) -> None:
    check_json(b'{"a": "' + unit * (MAX_TOKENS + 2) + b'", "b": [{}]}')


@pytest.mark.parametrize("num_bytes", [0, MAX_COUNTED_BYTES])
@pytest.mark.parametrize("unit", [b'"",', b'"\\"[",', b'"\\\\",', b"1,{},", b'{"]":0},'])
def test_a_flood_is_one_whether_it_is_counted_before_or_not(unit: bytes, num_bytes: int) -> None:
    """The brackets around it are two."""
    each = {b'{"]":0},': 3, b"1,{},": 2}.get(unit, 1)
    space = b" " * num_bytes

    check_json(b"[" + unit * ((MAX_TOKENS - 2) // each) + space + b"0]")
    with pytest.raises(RequestError, match="at most 50000"):
        check_json(b"[" + unit * (MAX_TOKENS // each + 1) + space + b"0]")


def test_a_flood_is_refused_before_it_is_looked_at() -> None:
    """Whoever sends nonsense shall hear so in 20 ms; its tokens alone take some 20."""
    body = b"[" + b"{}," * MAX_TOKENS + b"{}]"
    took_s = []
    for _ in range(5):
        began_s = time.process_time()
        with pytest.raises(RequestError):
            check_json(body)
        took_s.append(time.process_time() - began_s)

    assert min(took_s) < 0.008


@pytest.mark.parametrize(
    ("begin", "unit", "num", "end"),
    [
        (b"[", b"{},", 10_000_000, b""),
        (b'"', b'\\"', 8_000_000, b""),
        (b'["', b"A", 16_000_000, b'"]'),
        (b"", b'"a', 8_000_000, b""),
        (b'"', b'\\"', MAX_COUNTED_BYTES // 2 - 1, b""),
        (b'"', b'\\"', MAX_COUNTED_BYTES // 2 - 1, b"\\"),
        (b"", b" ", 16_000_000, b""),
        (b"[", b"1,", 8_000_000, b""),
    ],
    ids=["objects", "unterminated", "one string", "quotes", "escapes", "half an escape", "spaces", "numbers"],
)
def test_no_body_takes_more_than_linear_time(begin: bytes, unit: bytes, num: int, end: bytes) -> None:
    data = begin + unit * num + end
    began_s = time.process_time()
    with contextlib.suppress(RequestError):
        check_json(data)

    # 0.2 s alone; quadratic would be hours.
    assert time.process_time() - began_s < 5


def test_a_key_has_a_limit_and_a_string_has_none() -> None:
    check_json(b'{"%b": "%b"}' % (b"k" * (MAX_KEY_BYTES - 2), b"v" * 3 * MAX_KEY_BYTES))
    with pytest.raises(RequestError, match="keys of at most"):
        check_json(b'{"%b": 1}' % (b"k" * (MAX_KEY_BYTES + 1)))


@pytest.mark.parametrize("length", [99, 100, 101, 5000])
@pytest.mark.parametrize("ending", ["", "\\", '"', "é"])
def test_a_long_key_twice_is_found(length: int, ending: str) -> None:
    key = json.dumps("k" * length + ending).encode()

    check_json(b"{%b: 1, %b : 2}" % (key, key.replace(b"k", b"l", 1)))
    with pytest.raises(RequestError, match="is there twice"):
        check_json(b"{%b: 1, %b : 2}" % (key, key))


def test_a_picture_costs_hardly_more_than_reading_it() -> None:
    """`re` alone takes 80 ms for these 13 MB, on the event loop of all streams."""
    body = b'{"url": "data:image/png;base64,' + b"iVBORw0K" * 1_650_000 + b'"}'
    took_s = []
    for _ in range(5):
        began_s = time.process_time()
        check_json(body)
        took_s.append(time.process_time() - began_s)

    assert min(took_s) < 0.03
