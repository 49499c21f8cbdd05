"""Who is not admitted is turned away at the handshake: nothing of it is read, and it may come again."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import zmq

from transports.admission import ENDPOINT, answer, bind_admission
from transports.frames import as_buffer
from transports.origin import pid_of
from transports.sockets import bind_router

REQUEST = (b"asker", b"", b"1.0", b"1", b"kernel", b"localhost:0:0:7", b"identity", b"NULL")


class Door:
    """A ROUTER that lets in who is admitted."""

    def __init__(self, path: Path) -> None:
        self.endpoint = f"ipc://{path / 's'}"
        self.asked: list[str] = []
        self.is_open = False
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self._refused = asyncio.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._admission = bind_admission(self._context, self._admits)
        self._router = bind_router(
            self._context,
            self.endpoint,
            lambda frames: self.received.put_nowait(bytes(as_buffer(frames[-1]))),
            max_frame_bytes=1 << 20,
            max_unsent=10,
        )
        self._peers: list[zmq.Socket[bytes]] = []

    def knock(self, words: bytes) -> None:
        """Connect and say something."""
        dealer = self._context.socket(zmq.DEALER)
        self._peers.append(dealer)
        # After which it tries again.
        dealer.setsockopt(zmq.HANDSHAKE_IVL, 200)
        dealer.connect(self.endpoint)
        dealer.send(words)

    def ask(self, request: Sequence[bytes]) -> None:
        """As libzmq would, but for what it says."""
        asker = self._context.socket(zmq.DEALER)
        self._peers.append(asker)
        asker.connect(ENDPOINT)
        asker.send_multipart(request)

    async def refused(self) -> None:
        """Wait until somebody is."""
        async with asyncio.timeout(10):
            await self._refused.wait()

    async def next(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.received.get()

    def close(self) -> None:
        self._router.close()
        self._admission.close()
        for peer in self._peers:
            peer.close(0)
        self._context.term()

    def _admits(self, origin: str) -> bool:
        self.asked.append(origin)
        if not self.is_open:
            self._refused.set()
        return self.is_open


@pytest.fixture
async def door(short_path: Path) -> AsyncIterator[Door]:
    door = Door(short_path)
    yield door
    door.close()


async def test_nothing_is_read_of_who_is_refused(door: Door) -> None:
    door.knock(b"refused")
    await door.refused()
    door.is_open = True
    door.knock(b"admitted")

    assert await door.next() == b"admitted"


async def test_who_was_refused_gets_in_later_by_itself(door: Door) -> None:
    door.knock(b"patient")
    await door.refused()
    door.is_open = True

    assert await door.next() == b"patient"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is")
async def test_the_process_behind_a_connection_is_asked_for(door: Door) -> None:
    door.is_open = True
    door.knock(b"hello")
    await door.next()

    assert [os.getpid()] == [pid_of(origin) for origin in door.asked]


async def test_what_is_no_question_is_ignored_and_the_next_is_answered(door: Door) -> None:
    door.is_open = True
    door.ask([b""])
    door.ask([b"", b"1.0", b"1"])
    door.ask([b"\xff" * 1000] * 50)
    door.knock(b"hello")

    assert await door.next() == b"hello"


@pytest.mark.parametrize(
    "request_",
    [
        (),
        (b"",),
        REQUEST[:6],
        REQUEST[:7],
        (b"asker", b"no delimiter", *REQUEST[2:]),
        (*REQUEST[:2], b"2.0", *REQUEST[3:]),
    ],
)
def test_what_is_no_question_has_no_answer(request_: Sequence[bytes]) -> None:
    assert answer(request_, lambda _: True) == []


def test_an_answer_names_the_question() -> None:
    assert answer(REQUEST, lambda _: True) == [b"asker", b"", b"1.0", b"1", b"200", b"", b"", b""]


def test_who_is_not_admitted_has_no_answer() -> None:
    assert answer(REQUEST, lambda _: False) == []


def test_credentials_of_other_mechanisms_are_not_read() -> None:
    assert answer((*REQUEST, b"user", b"word"), lambda _: True)[4] == b"200"


def test_an_address_that_is_no_text_has_no_origin() -> None:
    origins: list[str] = []

    answer((*REQUEST[:5], b"\xff\xfe:\x00", *REQUEST[6:]), lambda origin: not origins.append(origin))

    assert [""] == origins
