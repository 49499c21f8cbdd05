"""What a child process writes, as lines."""

from __future__ import annotations

import asyncio

from transports.child_output import MAX_LINE_BYTES, output_lines


async def test_lines_come_one_by_one_whatever_they_hold() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"one\r\n\nt\xff" + b"\nthe last")
    stream.feed_eof()

    assert ["one", "", "t\ufffd", "the last"] == [line async for line in output_lines(stream)]


async def test_of_an_endless_line_the_end_is_kept_and_the_next_one_is_whole() -> None:
    stream = asyncio.StreamReader(limit=1 << 24)
    stream.feed_data(b"x" * (40 * MAX_LINE_BYTES) + b"why\nnext\n")
    stream.feed_eof()

    long, after = [line async for line in output_lines(stream)]
    assert long.endswith("xwhy")
    assert len(long) <= 2 * MAX_LINE_BYTES
    assert after == "next"
