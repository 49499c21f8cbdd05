"""The tokens of a prompt, packed and unpacked."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.packed_tokens import ids_of, pieces_of
from transports.codec import decode_body, encode
from transports.errors import RemoteProtocolError
from transports.messages import Events
from transports.tokens import Tokens

ID = "request-1"
# Issue: no block of a frontend's loop is longer.
MAX_BLOCK_S = 0.05


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=5)), max_size=20))
def test_what_was_packed_is_there_again(tokens: list[tuple[int, bytes]]) -> None:
    found = Tokens.of(ID, [number for number, _ in tokens], [piece for _, piece in tokens])

    assert tokens == list(zip(ids_of(found), pieces_of(found), strict=True))
    assert len(tokens) == found.num_tokens


@pytest.mark.parametrize(
    ("ids", "text", "sizes"),
    [
        (b"\1\0\0\0", b"ab", b"\1\0\0\0"),
        (b"\1\0\0\0", b"ab", b"\1\0\0\0\1\0\0\0"),
        (b"\1\0\0\0", b"ab", b"\2\0\0"),
    ],
)
def test_sizes_that_do_not_fit_are_a_workers_fault(ids: bytes, text: bytes, sizes: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="packed_tokens"):
        pieces_of(Tokens(id=ID, ids=ids, text=text, sizes=sizes))


def test_a_million_tokens_are_read_off_the_wire_in_no_time() -> None:
    """A frontend's loop does that; to unpack them is for a thread."""
    number = 1 << 20
    message = encode(Events(items=(Tokens.of(ID, range(number), [b"word"] * number),)))
    began_s = time.thread_time()

    decode_body(message, Events)

    assert time.thread_time() - began_s < MAX_BLOCK_S
