"""Messages are joined to frames and split again; what is no message is refused."""

from __future__ import annotations

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.codec import encode
from transports.envelope import Envelope
from transports.errors import RemoteProtocolError
from transports.frames import join, parcel, split
from transports.messages import Bye, Ping


def test_a_message_comes_back_with_its_buffers() -> None:
    message = parcel("submit", Bye(), [b"pixels", b""], ids=("request-1",), model="m", priority=-1)

    assert split(join(message), 40) == message


def test_a_message_without_a_body_has_one_frame() -> None:
    assert len(join(parcel("ping"))) == 1


def test_frames_that_libzmq_owns_are_read_in_place() -> None:
    frames = [zmq.Frame(encode(Envelope(version=1, type="ping"))), zmq.Frame(encode(Ping()))]

    message = split(frames, 2)

    assert bytes(message.body) == b"\x80"
    assert message.num_bytes == 1


def test_a_missing_body_is_refused_by_type() -> None:
    with pytest.raises(RemoteProtocolError, match="ping: expected a body, got none"):
        _ = split([encode(Envelope(version=1, type="ping"))], 2).body


def test_no_frame_at_all_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match=r"expected 1\.\.40 frames, got 0"):
        split([], 40)


def test_more_frames_than_allowed_are_refused() -> None:
    frames = join(parcel("submit", Bye(), [b""] * 39))

    with pytest.raises(RemoteProtocolError, match=r"expected 1\.\.40 frames, got 41"):
        split(frames, 40)
    assert split(frames[:-1], 40)


@settings(deadline=None)
@given(frames=st.lists(st.binary(max_size=64), max_size=5))
def test_random_frames_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        split(frames, 40)
