"""Envelope, body and buffers as the frames of one ZeroMQ message: join, split, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import zmq

from transports.codec import decode_envelope, encode
from transports.envelope import PROTOCOL_VERSION, Envelope, Message, MessageType
from transports.errors import RemoteProtocolError

# pyzmq's own type for a frame that was not copied out of libzmq; a view (of bytes) is only sent.
Frame = bytes | memoryview | zmq.Frame
# The bytes of a frame; those of a large one stay in libzmq's memory.
Buffer: TypeAlias = bytes | memoryview


class Parcel(NamedTuple):
    """A message as it travels: the envelope read, the rest unopened."""

    envelope: Envelope
    # Body, then buffers; () for messages without a body.
    frames: tuple[Frame, ...]

    @property
    def body(self) -> Buffer:
        """Frame 1.

        Raises:
            RemoteProtocolError: There is none.
        """
        if not self.frames:
            raise RemoteProtocolError(f"{self.envelope.type}: expected a body, got none")
        return as_buffer(self.frames[0])

    @property
    def buffers(self) -> tuple[Frame, ...]:
        """Frames 2 and later."""
        return self.frames[1:]

    @property
    def num_bytes(self) -> int:
        """Size of body and buffers together."""
        return sum(map(len, self.frames))


def parcel(
    type_: MessageType,
    body: Message | None = None,
    buffers: Sequence[Frame] = (),
    *,
    ids: Sequence[str] = (),
    finished: Sequence[str] = (),
    peer: str = "",
    model: str = "",
    task: str = "",
    priority: int = 0,
    client: str = "",
    timeout_s: float = 0.0,
    fingerprint: str = "",
    keep_alive_s: float | None = None,
) -> Parcel:
    """A message of ours; the arguments are `Envelope`'s."""
    envelope = Envelope(
        version=PROTOCOL_VERSION,
        type=type_,
        ids=tuple(ids),
        finished=tuple(finished),
        peer=peer,
        model=model,
        task=task,
        priority=priority,
        client=client,
        timeout_s=timeout_s,
        fingerprint=fingerprint,
        keep_alive_s=keep_alive_s,
    )
    return Parcel(envelope, () if body is None else (encode(body), *buffers))


def join(message: Parcel) -> list[Frame]:
    """The frames to send."""
    return [encode(message.envelope), *message.frames]


def split(frames: Sequence[Frame], max_frames: int) -> Parcel:
    """Read the envelope of received frames.

    Raises:
        RemoteProtocolError: No frame, more than *max_frames*, or a bad envelope.
    """
    if not 1 <= len(frames) <= max_frames:
        raise RemoteProtocolError(f"message: expected 1..{max_frames} frames, got {len(frames)}")
    return Parcel(decode_envelope(as_buffer(frames[0])), tuple(frames[1:]))


def as_buffer(frame: Frame) -> Buffer:
    """A frame's bytes without a copy; valid while the frame lives."""
    return frame.buffer if isinstance(frame, zmq.Frame) else frame
