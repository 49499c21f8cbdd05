"""Which process is behind a connection, where the system tells."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import cast

import pytest
import zmq

from transports.origin import origin_of, pid_of


class Message:
    """A frame with what libzmq knows of its connection."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def get(self, _: str) -> str:
        if self._address is None:
            raise zmq.ZMQError(zmq.EINVAL)
        return self._address


@pytest.mark.parametrize(
    "address",
    # Of an older libzmq, of tcp, of macOS, and of a process in another namespace.
    [None, "", "127.0.0.1", "::1", "localhost:501:20:", "localhost:501:20:0"],
)
def test_nobody_is_named_where_the_system_names_none(address: str | None) -> None:
    assert origin_of(cast(zmq.Frame, Message(address))) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is")
def test_two_connections_of_a_process_have_one_origin(short_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(f"ipc://{short_path}/socket")
        router.setsockopt(zmq.RCVTIMEO, 5000)
        with context.socket(zmq.DEALER) as one, context.socket(zmq.DEALER) as two:
            for dealer in (one, two):
                dealer.connect(f"ipc://{short_path}/socket")
                dealer.send(b"hello")
            frames = [router.recv_multipart(copy=False)[0] for _ in range(2)]
            origins = {origin_of(frame) for frame in frames}

    assert len(origins) == 1
    assert os.getpid() == pid_of(origins.pop())
