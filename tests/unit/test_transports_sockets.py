"""ROUTER and DEALER over real ipc sockets: nothing is dropped in silence, nobody takes another's place."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest
import zmq

from transports.frames import Frame, as_buffer
from transports.sockets import LOOK_EVERY, DrainedSocket, PeerFull, PeerGone, bind_router, open_dealer

MAX_UNSENT = 10


class Bench:
    """A ROUTER with what it received, and DEALERs that close with the test."""

    def __init__(self, path: Path, max_unsent: int = MAX_UNSENT) -> None:
        self.endpoint = f"ipc://{path / 's'}"
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.received: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.router = bind_router(
            self.context, self.endpoint, self._take, max_frame_bytes=32 << 20, max_unsent=max_unsent
        )
        self.dealers: list[zmq.Socket[bytes]] = []
        self.drained: list[DrainedSocket] = []

    def dealer(self, identity: str) -> zmq.Socket[bytes]:
        dealer = open_dealer(self.context, self.endpoint, identity)
        self.dealers.append(dealer)
        return dealer

    def drained_dealer(self, identity: str, on_frames: Callable[[list[Frame]], None]) -> DrainedSocket:
        drained = DrainedSocket(self.dealer(identity), on_frames)
        self.drained.append(drained)
        return drained

    async def next(self) -> list[bytes]:
        async with asyncio.timeout(10):
            return await self.received.get()

    def close(self) -> None:
        self.router.close()
        for drained in self.drained:
            drained.close()
        for dealer in self.dealers:
            dealer.close(0)
        self.context.term()

    def _take(self, frames: list[Frame]) -> None:
        if frames[1] == b"bad":
            raise ValueError("as told")
        self.received.put_nowait([bytes(as_buffer(frame)) for frame in frames])


@pytest.fixture
async def bench(short_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(short_path)
    yield bench
    bench.close()


async def test_sending_to_somebody_who_never_came_is_told(bench: Bench) -> None:
    with pytest.raises(PeerGone):
        bench.router.send([b"nobody", b"x"])


async def test_sending_to_somebody_who_left_is_told(bench: Bench) -> None:
    dealer = bench.dealer("visitor")
    dealer.send(b"hello")
    await bench.next()

    dealer.close(0)

    async with asyncio.timeout(10):
        with pytest.raises(PeerGone):
            while True:
                bench.router.send([b"visitor", b"x"])
                await asyncio.sleep(0.01)


async def test_a_peer_that_does_not_read_is_full_and_not_waited_for(bench: Bench) -> None:
    dealer = bench.dealer("sleeper")
    dealer.send(b"hello")
    await bench.next()

    with pytest.raises(PeerFull):
        # The dealer's own queue and the pipe between hold some too.
        for _ in range(100_000):
            bench.router.send([b"sleeper", b"x" * 1000])


async def test_an_identity_in_use_is_not_handed_over(bench: Bench) -> None:
    first = bench.dealer("name")
    first.send(b"first")
    await bench.next()
    thief = bench.dealer("name")
    thief.send(b"thief")

    bench.router.send([b"name", b"secret"])

    assert first.poll(5000)
    assert first.recv() == b"secret"
    assert not thief.poll(200)
    assert bench.received.empty()


async def test_large_frames_arrive_intact(bench: Bench) -> None:
    frames = [bytes([i]) * (8 << 20) for i in range(3)]

    bench.dealer("giver").send_multipart([b"small", *frames])

    assert await bench.next() == [b"giver", b"small", *frames]


async def test_large_frames_leave_intact(bench: Bench) -> None:
    dealer = bench.dealer("taker")
    dealer.send(b"hello")
    await bench.next()
    frames = [bytes([i]) * (8 << 20) for i in range(3)]

    bench.router.send([b"taker", b"small", *frames])

    assert dealer.poll(10_000)
    assert dealer.recv_multipart() == [b"small", *frames]


async def test_a_frame_over_the_limit_ends_the_connection(bench: Bench) -> None:
    giver = bench.dealer("giver")
    monitor = giver.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    giver.send(b"x" * ((32 << 20) + 1))

    try:
        assert await asyncio.to_thread(monitor.poll, 10_000)
    finally:
        giver.disable_monitor()
    assert bench.received.empty()


async def test_more_messages_than_one_turn_drains_all_arrive(bench: Bench) -> None:
    """The file descriptor signals once; what is left over must not wait for the next message."""
    dealer = bench.dealer("chatterbox")
    # If nobody reads, the thread below must still end.
    dealer.setsockopt(zmq.SNDTIMEO, 5000)
    sent = [str(i).encode() for i in range(2000)]

    def send_all() -> None:
        for message in sent:
            dealer.send(message)

    sending = asyncio.create_task(asyncio.to_thread(send_all))
    try:
        received = [(await bench.next())[1] for _ in sent]
    finally:
        await asyncio.wait([sending])

    assert received == sent


class Inbox:
    """A socket whose messages come together."""

    closed = False

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._ours, self._theirs = socket.socketpair()

    def getsockopt(self, option: int) -> int:
        if option == zmq.FD:
            return self._theirs.fileno()
        return zmq.POLLIN if self._messages else 0

    def put(self, *messages: bytes) -> None:
        self._messages += messages
        self._ours.send(b"!")

    def recv(self, flags: int = 0, copy: bool = False) -> zmq.Frame:
        if not self._messages:
            raise zmq.Again
        return zmq.Frame(self._messages.pop(0))

    def close(self, linger_ms: int) -> None:
        self._ours.close()
        self._theirs.close()


@pytest.mark.parametrize(
    ("is_awaited", "expected"), [(True, ["1", "awaited", "2", "3"]), (False, ["1", "2", "3", "awaited"])]
)
async def test_whoever_awaits_a_message_goes_on_before_the_next_is_read(
    is_awaited: bool, expected: list[str]
) -> None:
    inbox = Inbox()
    happened: list[str] = []
    arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(frames: list[Frame]) -> None:
        happened.append(bytes(as_buffer(frames[0])).decode())
        if not arrived.done():
            arrived.set_result(None)

    drained = DrainedSocket(cast("zmq.Socket[bytes]", inbox), take, is_awaited=is_awaited)
    await asyncio.sleep(0)  # It looks once before it is rung.
    inbox.put(b"1", b"2", b"3")
    async with asyncio.timeout(10):
        await arrived
        happened.append("awaited")
        while len(happened) <= 3:
            await asyncio.sleep(0)
    drained.close()

    assert expected == happened


async def test_a_message_that_fails_does_not_hold_up_the_next(bench: Bench) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
    dealer = bench.dealer("peer")

    for message in (b"bad", b"bad", b"good"):
        dealer.send(message)

    assert await bench.next() == [b"peer", b"good"]


async def test_a_closed_socket_reads_no_more(bench: Bench) -> None:
    dealer = bench.dealer("late")
    drained = DrainedSocket(dealer, lambda _: pytest.fail("read after close"))

    drained.close()
    drained.close()

    assert dealer.closed


async def test_a_peer_among_a_flood_of_anothers_messages_is_soon_read(short_path: Path) -> None:
    bench = Bench(short_path, max_unsent=1000)
    order: list[bytes] = []

    def take(frames: list[Frame]) -> None:
        order.append(bytes(as_buffer(frames[0])))
        if len(order) == 20:
            other.send(b"among them")
            # For libzmq's own thread to bring it: the flood is there already, and waits for us.
            time.sleep(0.1)

    try:
        flooder, other = bench.dealer("flooder"), bench.dealer("other")
        for dealer in (flooder, other):
            dealer.send(b"first")
            await bench.next()
        bench.router._on_frames = take
        for _ in range(300):
            flooder.send(b"flood")

        async with asyncio.timeout(10):
            while b"other" not in order:
                await asyncio.sleep(0.01)
        assert order.index(b"other") - 20 < 3 * LOOK_EVERY
    finally:
        bench.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is")
async def test_a_peer_can_be_disconnected_and_may_come_again(bench: Bench) -> None:
    dealer, other = bench.dealer("flooder"), bench.dealer("other")
    events = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    for peer in (dealer, other):
        peer.send(b"first")
        await bench.next()
    bench.router._on_frames = lambda _: bench.router.disconnect_sender()
    dealer.send(b"too much")

    assert await asyncio.to_thread(events.poll, 5000)
    bench.router._on_frames = bench._take
    dealer.disable_monitor()
    events.close(0)
    other.send(b"undisturbed")
    assert await bench.next() == [b"other", b"undisturbed"]
    bench.dealer("flooder").send(b"again")
    assert await bench.next() == [b"flooder", b"again"]


async def test_who_watches_hears_of_the_end_after_the_last_messages(bench: Bench) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    dealer = bench.drained_dealer("watcher", lambda frames: heard.put_nowait(bytes(as_buffer(frames[0]))))
    dealer.watch_peer(lambda: heard.put_nowait(b"gone"))
    dealer.send([b"hello"])
    await bench.next()

    for number in range(MAX_UNSENT):
        bench.router.send([b"watcher", b"%d" % number])
    bench.router.close(1000)

    async with asyncio.timeout(10):
        told = [await heard.get() for _ in range(MAX_UNSENT + 1)]
    assert told == [b"%d" % number for number in range(MAX_UNSENT)] + [b"gone"]


async def test_another_router_on_the_same_path_gets_nothing_that_was_meant_for_the_first(
    bench: Bench,
) -> None:
    gone = asyncio.Event()
    dealer = bench.drained_dealer("visitor", lambda frames: None)
    dealer.watch_peer(gone.set)
    dealer.send([b"hello"])
    await bench.next()
    bench.router.close()
    async with asyncio.timeout(10):
        await gone.wait()

    bench.router = bind_router(
        bench.context, bench.endpoint, bench._take, max_frame_bytes=1 << 20, max_unsent=MAX_UNSENT
    )
    with contextlib.suppress(PeerFull):
        dealer.send([b"for the first"])
    # libzmq would connect again within a tenth of a second.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await bench.received.get()
