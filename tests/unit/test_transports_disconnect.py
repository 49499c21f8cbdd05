"""Only the connection that a message came through is closed, and never one that took its number since."""

from __future__ import annotations

import os
import socket
import sys
from typing import cast

import pytest
import zmq

from transports.disconnect import disconnect

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is")


class Message:
    """A frame with what libzmq knows of its connection."""

    def __init__(self, descriptor: int, pid: int) -> None:
        self._known: dict[object, object] = {
            zmq.SRCFD: descriptor,
            "Peer-Address": f"localhost:0:0:{pid}",
        }

    def get(self, what: object) -> object:
        return self._known[what]


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_connection_is_closed_only_if_it_is_the_senders(is_closed: bool) -> None:
    pid = os.getpid() if is_closed else os.getpid() + 1
    ours, its = socket.socketpair()
    with ours, its:
        its.setblocking(False)

        assert disconnect(cast(zmq.Frame, Message(ours.fileno(), pid))) is is_closed
        if is_closed:
            assert its.recv(1) == b""
        else:
            with pytest.raises(BlockingIOError):
                its.recv(1)


def test_a_descriptor_that_is_no_connection_any_more_is_left_alone() -> None:
    reading, writing = os.pipe()
    try:
        assert not disconnect(cast(zmq.Frame, Message(reading, os.getpid())))
        os.write(writing, b"x")
        assert os.read(reading, 1) == b"x"
    finally:
        os.close(reading)
        os.close(writing)
