"""A worker's connection: pings while its engine computes, messages in their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from transports.codec import decode_body
from transports.errors import RemoteProtocolError, WorkerError
from transports.frames import Parcel, join, parcel, split
from transports.loading import Unload
from transports.messages import Hello, Ping, Pong
from workers.link import Link

LOOK_S = 0.01
TIMEOUT_MS = 10_000
HELLO = Hello(role="worker", kind="echo", name="echo-1", token="secret", pid=1, mlxd_version="0")


class Kernel:
    """A ROUTER that speaks to one worker."""

    def __init__(self, endpoint: str) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        self.socket.bind(endpoint)

    def send(self, *messages: Parcel) -> None:
        for message in messages:
            self.socket.send_multipart([b"worker", *join(message)])

    def next_type(self) -> str:
        return self.next().envelope.type

    def next(self) -> Parcel:
        return split(self.socket.recv_multipart()[1:], 16)


@pytest.fixture
def kernel(short_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(f"ipc://{short_path / 's'}")
    yield kernel
    kernel.socket.close()


@pytest.fixture
def link(kernel: Kernel, short_path: Path) -> Iterator[Link]:
    link = Link(f"ipc://{short_path / 's'}", "worker", HELLO)
    assert kernel.next_type() == "hello"
    yield link
    link.close()


def submit(request_id: str) -> Parcel:
    return parcel("submit", Unload(), ids=(request_id,))


def test_pings_are_answered_while_nobody_listens(kernel: Kernel, link: Link) -> None:
    link.report_with(lambda: Pong(progress=7), lambda _: True)
    link.answer_pings(LOOK_S)

    kernel.send(parcel("ping", Ping()))

    assert kernel.next_type() == "pong"


def test_pings_are_answered_while_somebody_listens(kernel: Kernel, link: Link) -> None:
    heard: list[Parcel] = []
    listener = threading.Thread(target=lambda: heard.append(link.receive()))
    listener.start()

    kernel.send(parcel("ping", Ping()))

    assert kernel.next_type() == "pong"
    kernel.send(submit("request-a"))
    listener.join()
    assert ["request-a"] == [message.envelope.ids[0] for message in heard]


def test_what_came_between_two_steps_keeps_its_order(kernel: Kernel, link: Link) -> None:
    """Some of it the thread that looks for pings has taken from the socket."""
    link.answer_pings(LOOK_S)
    kernel.send(submit("request-a"), submit("request-b"), parcel("ping", Ping()))
    assert kernel.next_type() == "pong"
    kernel.send(submit("request-c"))
    messages = [link.receive()]
    while len(messages) < 3:
        messages += link.arrived(wait=True)

    assert ["request-a", "request-b", "request-c"] == [message.envelope.ids[0] for message in messages]


def test_nothing_came(kernel: Kernel, link: Link) -> None:
    assert list(link.arrived(wait=False)) == []


def test_a_refused_worker_hears_why(kernel: Kernel, link: Link) -> None:
    kernel.send(parcel("failed", WorkerError("wrong token").to_failed()))

    with pytest.raises(RemoteProtocolError, match="wrong token"):
        link.receive()


def test_a_pong_names_what_neither_the_engine_has_nor_waits_for_it(kernel: Kernel, link: Link) -> None:
    link.report_with(Pong, {"in-engine"}.__contains__)
    link.answer_pings(LOOK_S)
    kernel.send(submit("has-just-come"), submit("next-to-come"))
    messages = link.arrived(wait=True)
    next(messages)
    kernel.send(parcel("ping", Ping(running=("in-engine", "has-just-come", "next-to-come", "nowhere1"))))

    pong = kernel.next()

    assert ("nowhere1",) == decode_body(pong.body, Pong).unknown
