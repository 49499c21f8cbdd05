"""What a peer writes into a frame costs us little and ends in a message or in RemoteProtocolError."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_strategies import BODIES

from transports import codec
from transports.codec import decode_body, decode_envelope, encode
from transports.envelope import Envelope, Message
from transports.errors import RemoteProtocolError
from transports.messages import Bye, ChatRequest, Sampling
from transports.reports import Admin

EVERY_BODY = [body for bodies in BODIES.values() for body in bodies]
HELLO = {"version": 1, "type": "hello"}
# The first bytes of an envelope with three fields, the third to be named.
THREE_FIELDS = b"\x83\xa7version\x01\xa4type\xa5hello"


def array(num_items: int) -> bytes:
    return b"\xdd" + struct.pack(">I", num_items)


def map_(num_items: int) -> bytes:
    return b"\xdf" + struct.pack(">I", num_items)


# --- any bytes at all -------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(frame=st.binary(max_size=200))
def test_random_bytes_are_an_envelope_or_refused(frame: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert isinstance(decode_envelope(frame), Envelope)


@settings(max_examples=500, deadline=None)
@given(frame=st.binary(max_size=200), body_type=st.sampled_from(EVERY_BODY))
def test_random_bytes_are_a_body_or_refused(frame: bytes, body_type: type[Message]) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert isinstance(decode_body(frame, body_type), body_type)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), body_type=st.sampled_from(EVERY_BODY))
def test_a_damaged_body_is_a_body_or_refused(data: st.DataObject, body_type: type[Message]) -> None:
    """Damage to something right gets further than noise."""
    keys = st.sampled_from(body_type.__struct_fields__ or ("x",))
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=3)
        ),
        max_leaves=5,
    )
    frame = bytearray(msgpack.packb(data.draw(st.dictionaries(keys, values))))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(RemoteProtocolError):
        assert isinstance(decode_body(bytes(frame), body_type), body_type)


# --- envelopes --------------------------------------------------------------------------------


def test_an_envelope_over_its_limit_is_refused() -> None:
    frame = msgpack.packb(HELLO | {"unknown": "x" * codec.MAX_ENVELOPE_BYTES})

    with pytest.raises(RemoteProtocolError, match="65536 bytes"):
        decode_envelope(frame)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_protocol_version_is_refused_by_name(version: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"version 1, got {version}"):
        decode_envelope(msgpack.packb(HELLO | {"version": version}))


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "hello"},
        {"version": 1},
        {"version": 1, "type": "no such type"},
        {"version": "1", "type": "hello"},
        HELLO | {"ids": ["short"]},
        HELLO | {"ids": ["x" * 65]},
        HELLO | {"ids": ["x" * 22] * 1025},
        HELLO | {"priority": 2},
        HELLO | {"model": "m" * 257},
        HELLO | {"task": "t" * 65},
        HELLO | {"client": "c" * 129},
        HELLO | {"peer": "p" * 65},
        [1, "hello"],
        None,
    ],
    ids=repr,
)
def test_a_wrong_envelope_is_refused(fields: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_envelope(msgpack.packb(fields))


def test_text_that_is_not_utf8_is_refused_in_an_envelope() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_envelope(THREE_FIELDS + b"\xa4peer\xa2\xff\xfe")


def test_a_promise_of_many_ids_takes_no_memory() -> None:
    assert _peak_bytes(THREE_FIELDS + b"\xa3ids" + array(2**31), None) < 1 << 20


@pytest.mark.parametrize("junk", [b"\x91" * 60_000, array(2**32 - 1), map_(2**32 - 1)])
def test_an_unknown_field_of_an_envelope_takes_no_memory(junk: bytes) -> None:
    assert _peak_bytes(THREE_FIELDS + b"\xa1x" + junk, None) < 1 << 20


# --- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [msgpack.ExtType(5, b"abc"), msgpack.Timestamp(1)], ids=["ext", "timestamp"]
)
def test_ext_types_are_refused(value: object) -> None:
    with pytest.raises(RemoteProtocolError, match="max_ext_len"):
        decode_body(msgpack.packb({"unknown": value}), Bye)


def test_duplicate_keys_are_refused() -> None:
    """Two readers could take different ones for true."""
    with pytest.raises(RemoteProtocolError, match="duplicate keys"):
        decode_body(b"\x82\xa4name\xa1a\xa4name\xa1b", Admin)


@pytest.mark.parametrize("key", [b"\xc0", b"\xcb" + b"\x00" * 8, b"\xc4\x01x", b"\x90", b"\x80"])
def test_keys_that_are_neither_text_nor_integer_are_refused(key: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_body(b"\x81\xa1x\x81" + key + b"\x01", Bye)


def test_a_map_with_integer_keys_is_taken() -> None:
    """logit_bias has them."""
    assert decode_body(encode(Sampling(logit_bias={50256: -100.0})), Sampling).logit_bias == {50256: -100.0}


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1x"])
def test_nesting_over_the_limit_is_refused(opening: bytes) -> None:
    deep = b"\x81\xa1x" + opening * codec.MAX_DEPTH + b"\xc0"

    with pytest.raises(RemoteProtocolError, match="nested deeper"):
        decode_body(deep, Bye)
    decode_body(b"\x81\xa1x" + opening * (codec.MAX_DEPTH - 2) + b"\xc0", Bye)


@pytest.mark.parametrize("num_levels", [500, 5_000, 1_000_000])
def test_absurd_nesting_is_refused(num_levels: int) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_body(b"\x91" * num_levels, Bye)


@pytest.mark.parametrize("header", [array(codec.MAX_ARRAY_ITEMS + 1), map_(codec.MAX_MAP_ITEMS + 1)])
def test_containers_over_their_limit_are_refused(header: bytes) -> None:
    frame = b"\x81\xa1x" + header + b"\x00" * (2 * codec.MAX_ARRAY_ITEMS + 2)

    with pytest.raises(RemoteProtocolError, match=r"max_(array|map)_len"):
        decode_body(frame, Bye)


def test_promised_items_take_no_memory() -> None:
    """msgpack makes room for what a header promises: 1000 headers of 5 bytes would take 8 GB."""
    assert _peak_bytes(array(codec.MAX_ARRAY_ITEMS) * 1000, Bye) < 1 << 20


@pytest.mark.parametrize("empty", [b"\x80", b"\x90"], ids=["maps", "arrays"])
def test_empty_containers_take_bounded_memory(empty: bytes) -> None:
    """One byte each on the wire, 64 in memory."""
    one = array(codec.MAX_ARRAY_ITEMS) + empty * codec.MAX_ARRAY_ITEMS

    assert _peak_bytes(b"\x81\xa1x\x92" + one + one, Bye) < 64 << 20


def test_many_small_values_take_bounded_memory() -> None:
    one = array(codec.MAX_ARRAY_ITEMS) + b"\xa2ab" * codec.MAX_ARRAY_ITEMS

    assert _peak_bytes(b"\x81\xa1x\x94" + one * 4, Bye) < 256 << 20


def test_a_prompt_of_many_token_ids_is_taken() -> None:
    tokens = list(range(200_000))
    frame = msgpack.packb({"prompt": tokens})

    assert decode_body(frame, BODIES["submit"][1]).prompt == tuple(tokens)  # type: ignore[attr-defined]


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\xc0", b"\x80\x80", b"\x81", b"\xa5abc"], ids=repr)
def test_malformed_msgpack_is_refused(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_body(frame, Admin)


def test_text_that_is_not_utf8_is_refused_in_a_body() -> None:
    with pytest.raises(RemoteProtocolError, match="UnicodeDecodeError"):
        decode_body(b"\x81\xa4name\xa3\xed\xa0\x80", Admin)


def test_the_field_at_fault_is_named() -> None:
    with pytest.raises(RemoteProtocolError, match=r"ChatRequest: .*\$\.messages\[0\]\.role"):
        decode_body(msgpack.packb({"messages": [{"role": "king", "content": "x"}]}), ChatRequest)


def _peak_bytes(frame: bytes, into: type[Message] | None) -> int:
    """The most memory that refusing *frame* takes."""
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            _ = decode_envelope(frame) if into is None else decode_body(frame, into)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
