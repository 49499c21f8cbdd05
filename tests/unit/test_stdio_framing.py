"""Bytes to messages: both framings, cut anywhere, and what does not belong there."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.stdio.framing import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    Framing,
    Piece,
    Splitter,
    TooLarge,
    Unreadable,
    framed,
)

LIMIT = 1000
MESSAGE = '{"text":"é 🙂"}'.encode()


def split(*chunks: bytes) -> list[Piece]:
    splitter = Splitter(LIMIT)
    return [piece for chunk in chunks for piece in splitter.feed(chunk)]


def kinds(*chunks: bytes) -> list[object]:
    """The pieces; of faults their type."""
    return [piece if isinstance(piece, bytes) else type(piece) for piece in split(*chunks)]


def single_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("framing", Framing)
@given(messages=st.lists(st.binary(min_size=1, max_size=50).map(bytes.hex).map(str.encode)), data=st.data())
def test_messages_come_out_as_they_went_in_wherever_they_are_cut(
    framing: Framing, messages: list[bytes], data: st.DataObject
) -> None:
    # The first one tells the framing.
    sent = [b"{}", *messages]
    stream = b"".join(framed(message, framing) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    edges = [0, *cuts, len(stream)]
    splitter = Splitter(LIMIT)

    read = [piece for a, b in itertools.pairwise(edges) for piece in splitter.feed(stream[a:b])]

    assert sent == read
    assert framing == splitter.framing


@pytest.mark.parametrize("framing", Framing)
def test_single_bytes_will_do(framing: Framing) -> None:
    assert [MESSAGE, MESSAGE] == split(*single_bytes(framed(MESSAGE, framing) * 2))


def test_a_length_is_in_bytes() -> None:
    assert b"Content-Length: %d\r\n\r\n" % (len(MESSAGE.decode()) + 4) + MESSAGE == framed(
        MESSAGE, Framing.CONTENT_LENGTH
    )


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n\r\n", b" \n\t", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("framing", Framing)
def test_a_byte_order_mark_and_blank_lines_are_no_message(framing: Framing, before: bytes) -> None:
    assert [MESSAGE] == split(*single_bytes(before + framed(MESSAGE, framing)))


@pytest.mark.parametrize(
    "header",
    [
        b"content-length:14",
        b"CONTENT-LENGTH:   14  ",
        b"Content-Length: 14\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8",
        b'Content-Type: application/json; charset="UTF8"\r\nContent-Length: 14',
        b"Content-Length: 14\r\nX-Other: yes",
        b"Content-Length : 14",
    ],
)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_headers_as_clients_write_them(header: bytes, line_end: bytes) -> None:
    head = header.replace(b"\r\n", line_end) + line_end * 2

    assert [b'{"id":1234567}', b"{}"] == split(head + b'{"id":1234567}' + b"Content-Length: 2\n\n{}")


def test_blank_lines_between_messages_are_skipped() -> None:
    assert [b"[1]", b"[2]"] == split(b"[1]\r\n\r\n\n[2]\r\n")
    assert [b"{}", b"{}"] == split(b"Content-Length: 2\r\n\r\n{}\r\n\r\nContent-Length: 2\r\n\r\n{}")


def test_an_empty_body_is_a_message() -> None:
    assert [b"", b"{}"] == split(b"Content-Length: 0\r\n\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: -5",
        b"Content-Length: 1_0",
        b"Content-Length: 0x10",
        b"Content-Length:",
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Type: text/plain",
        b"Content-Length: 2\r\nContent-Type: a; charset=utf-16",
        b"GET / HTTP/1.1",
        b"hello",
        b"\r\n".join([b"A: 1"] * (MAX_HEADERS + 1)),
        b"A: " + b"x" * MAX_HEADER_BYTES,
    ],
)
def test_a_header_that_cannot_be_read_ends_the_reading(header: bytes) -> None:
    first = b"Content-Length: 2\r\n\r\n{}"

    assert [b"{}", Unreadable] == kinds(first + header + b"\r\n\r\n{}", first)


def test_a_header_without_end_is_not_waited_for() -> None:
    assert [Unreadable] == kinds(*[b"C" * 1024] * 5)


def test_a_line_that_is_no_header_is_not_followed_by_waiting() -> None:
    assert [Unreadable] == kinds(b"Content-Length\r\n")


def test_words_are_lines_that_are_answered() -> None:
    """A person who tries what it does is not left waiting for headers to end."""
    assert [b"hello", b"GET / HTTP/1.1"] == split(b"hello\nGET / HTTP/1.1\r\n")


def test_a_line_over_the_limit_is_told_at_once_and_skipped() -> None:
    splitter = Splitter(LIMIT)
    told, skipped, next_ = (
        splitter.feed(chunk) for chunk in (b"{}\n" + b"[" * (LIMIT + 1), b"[" * LIMIT * 3, b'"\n{"id":1}\n')
    )

    assert [bytes, TooLarge] == [type(piece) for piece in told]
    assert ([], [b'{"id":1}']) == (skipped, next_)


def test_a_line_at_the_limit_is_read() -> None:
    line = b"[" * LIMIT

    assert [line] == split(line[:10], line[10:], b"\n")
    assert [TooLarge, b"{}"] == kinds(line + b"[\n{}\n")


def test_a_body_over_the_limit_is_told_at_once_and_skipped() -> None:
    size = LIMIT + 1
    pieces = kinds(b"Content-Length: %d\r\n\r\n" % size, *[b"x" * 91] * 11, b"Content-Length: 2\r\n\r\n{}")

    assert 91 * 11 == size
    assert [TooLarge, b"{}"] == pieces


def test_a_claim_of_a_gigabyte_costs_nothing() -> None:
    splitter = Splitter(LIMIT)
    splitter.feed(b"Content-Length: %d\r\n\r\n" % 2**30)

    for _ in range(100):
        splitter.feed(b"x" * 65536)

    assert 0 == len(splitter._buffer)


def test_the_last_line_needs_no_end() -> None:
    splitter = Splitter(LIMIT)

    assert [] == splitter.feed(b'{"id":1}')
    assert [b'{"id":1}'] == splitter.end()


def test_a_body_that_is_cut_off_is_no_message() -> None:
    splitter = Splitter(LIMIT)
    splitter.feed(b"Content-Length: 20\r\n\r\n{}")

    assert [] == splitter.end()
