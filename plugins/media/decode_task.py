"""What a frontend and its decode processes say to each other over their pipes.

A message is the lengths of head and payload, a head in msgpack, and the payload: pixels, one way only. The
encoded bytes stand in a file in memory that both have open. Both sides are of one installation, so there are
no versions.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import TypeVar

import msgspec

# Lengths of head and payload.
LENGTHS = struct.Struct("<IQ")
MAX_HEAD_BYTES = 64 * 1024
# What a decoder says when it has taken a task: from now on its death is the picture's doing.
BEGUN = b"!"

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Frontend -> decoder: decode the file in memory. Followed by an answer, or by the decoder's end."""

    # Of the file in memory, which may be longer.
    num_bytes: int
    # The largest side of the result, pixels.
    side: int
    max_pixels: int
    # "2", "1-3"; "" is all.
    pages: str
    max_pages: int
    # For each picture or page.
    cpu_s: int
    # Where pixels of `shared_from_bytes` and more go, "" for nowhere, and the names for the files:
    # whoever waits for a decoder that died knows what to remove.
    folder: str
    names: tuple[str, ...]
    shared_from_bytes: int
    max_shared_bytes: int


class Pixels(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded picture."""

    width: int
    height: int
    digest: bytes
    # Of the file; "" for pixels in the payload, in the order of the pictures.
    name: str = ""

    @property
    def num_bytes(self) -> int:
        return self.width * self.height * 3


class Decoded(msgspec.Struct, frozen=True, kw_only=True, tag="decoded"):
    """Decoder -> frontend: the pixels."""

    pictures: tuple[Pixels, ...]
    # Before they were made smaller.
    num_pixels: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Decoder -> frontend: it cannot be decoded; the decoder takes the next task."""

    # Of an error in `transports/errors.py`.
    code: str
    message: str


Answer = Decoded | Refused
TASKS = msgspec.msgpack.Decoder(Task)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def write_message(descriptor: int, head: msgspec.Struct, payload: Sequence[Buffer]) -> None:
    """Write a message.

    Raises:
        BrokenPipeError: The other side is gone.
    """
    encoded = msgspec.msgpack.encode(head)
    size = sum(len(part) for part in payload)
    for part in (LENGTHS.pack(len(encoded), size), encoded, *payload):
        left = memoryview(part).cast("B")
        while left:
            left = left[os.write(descriptor, left) :]


def read_message(descriptor: int, head: msgspec.msgpack.Decoder[T], max_bytes: int) -> tuple[T, bytearray]:
    """Read a message: its head, one of TASKS or ANSWERS, and its payload.

    Raises:
        EOFError: The other side is gone.
        ValueError: What came is no message, or its payload is over *max_bytes*.
    """
    head_bytes, size = LENGTHS.unpack(_read(descriptor, LENGTHS.size))
    if head_bytes > MAX_HEAD_BYTES or size > max_bytes:
        raise ValueError(f"pipe: head of {head_bytes} bytes and payload of {size}, at most {max_bytes}")
    return head.decode(_read(descriptor, head_bytes)), _read(descriptor, size)


def _read(descriptor: int, size: int) -> bytearray:
    buffer = bytearray(size)
    left = memoryview(buffer)
    while left:
        if not (count := os.readv(descriptor, [left])):
            raise EOFError
        left = left[count:]
    return buffer
