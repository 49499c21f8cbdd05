"""ROUTER and DEALER on asyncio, drained whenever they are readable.

zmq.asyncio awaits once a message; draining the socket from its file descriptor handles three times
as many (docs/adr/0002). Knows frames and peers, not messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import zmq

from transports.disconnect import disconnect
from transports.errors import MlxdError
from transports.frames import Frame
from transports.origin import origin_of

# Messages read before other tasks of the loop get their turn.
MAX_DRAINED = 256
# Messages after which libzmq is made to look for those of other peers. By itself it does so at every
# hundredth while one peer's come without a pause: 6 ms for somebody who waits. The first look is after one
# message, which mostly comes alone: to ask takes half the time of being refused.
LOOK_EVERY = 8
# Frames from this size on are handed to and taken from libzmq without a copy; pyzmq's own default.
COPY_THRESHOLD_BYTES = 64 * 1024

# Until a peer connects again: another kernel may have taken the path since, and would get what was meant for
# this one. With -1, never, libzmq drops what has arrived and is not read yet.
NEVER_MS = 24 * 3600 * 1000

# For both sides to say who they are, and `transports.admission` to answer: a moment, if nobody is stopped.
# For so long a connection that is refused, or says nothing, keeps a descriptor unless its peer closes it.
HANDSHAKE_MS = 10_000
# Of no meaning: there is one answer for all.
ZAP_DOMAIN = b"kernel"

# Plain integers: pyzmq's own are enumerations, and to combine two takes longer than to send.
NO_WAIT = int(zmq.NOBLOCK)
MORE = int(zmq.SNDMORE)
EVENTS = int(zmq.EVENTS)
READABLE = int(zmq.POLLIN)

# What pyzmq's `send` calls. That one looks for options of sockets that we do not have, which takes longer
# than to send.
_send = cast("Callable[[zmq.Socket[bytes], Frame, int, bool], object]", zmq.backend.Socket.send)

OnFrames = Callable[[list[Frame]], None]


class PeerGone(MlxdError):
    """The ROUTER knows no such peer: it never came, or its connection is closed."""

    code = "peer_gone"


class PeerFull(MlxdError):
    """As many messages as allowed wait for this peer already."""

    code = "peer_full"


class DrainedSocket:
    """A ZeroMQ socket that calls *on_frames* for each message while its loop runs.

    After the last of those that came together it calls *on_drained*.

    Args:
        socket: To read and to send with.
        on_frames: Called with each message.
        on_drained: See above.
        is_awaited: After the first message whoever awaits it goes on before the others are read.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        on_frames: OnFrames,
        on_drained: Callable[[], None] = lambda: None,
        *,
        is_awaited: bool = False,
    ) -> None:
        self._socket = socket
        self._on_frames = on_frames
        self._on_drained = on_drained
        self._is_awaited = is_awaited
        self._loop = asyncio.get_running_loop()
        # The first frame of the message that is being handled.
        self._first: zmq.Frame | None = None
        self._fd = int(socket.getsockopt(zmq.FD))
        self._scheduled: asyncio.Handle | None = None
        self._monitor: DrainedSocket | None = None
        # Draining goes on to the last message, whatever is sent meanwhile.
        self._is_draining = False
        self._loop.add_reader(self._fd, self._on_readable)
        # The descriptor signals edges only: look once for what came before we watched it.
        self._again()

    def send(self, frames: Sequence[Frame]) -> None:
        """Hand a message to libzmq; never blocks.

        Raises:
            PeerGone: ROUTER only: nobody has this identity.
            PeerFull: The peer's queue is full.
        """
        try:
            send_frames(self._socket, frames, NO_WAIT)
        except zmq.Again:
            raise PeerFull("the peer does not take its messages") from None
        except zmq.ZMQError as e:
            if e.errno == zmq.EHOSTUNREACH:
                raise PeerGone("no peer has this identity") from None
            raise
        # Sending may swallow the descriptor's edge for a message that came meanwhile.
        if not self._is_draining:
            self._look()

    def sender_origin(self) -> str:
        """Which process the message being handled came from, as `origin_of` says."""
        return origin_of(self._first) if self._first is not None else ""

    def disconnect_sender(self) -> None:
        """Close the connection that the message being handled came through; its peer may connect again."""
        if self._first is not None:
            disconnect(self._first)

    def watch_peer(self, on_gone: Callable[[], None]) -> None:
        """Of a DEALER: call *on_gone* when the other side's connection ends, after its last messages."""

        def gone(_: list[Frame]) -> None:
            while not self._socket.closed and is_readable(self._socket):
                self._drain(MAX_DRAINED)
            on_gone()

        self._monitor = DrainedSocket(self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED), gone)

    def close(self, linger_ms: int = 0) -> None:
        """Stop reading and close; messages not yet sent get *linger_ms*."""
        if self._socket.closed:
            return
        if self._monitor:
            self._socket.disable_monitor()
            self._monitor.close()
        self._loop.remove_reader(self._fd)
        if self._scheduled:
            self._scheduled.cancel()
        self._socket.close(linger_ms)

    def _again(self) -> None:
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._on_scheduled)

    def _look(self) -> None:
        if is_readable(self._socket):
            self._again()
        elif self._scheduled:
            # The descriptor signals what comes from now on.
            self._scheduled.cancel()
            self._scheduled = None

    def _on_scheduled(self) -> None:
        self._scheduled = None
        if is_readable(self._socket):
            self._drain(MAX_DRAINED)

    def _on_readable(self) -> None:
        if self._scheduled:
            self._scheduled.cancel()
            self._scheduled = None
        self._drain(1 if self._is_awaited else MAX_DRAINED)

    def _drain(self, max_drained: int) -> None:
        self._is_draining = True
        try:
            for count in range(max_drained):
                if self._socket.closed:
                    return
                if count % LOOK_EVERY == 1 and not is_readable(self._socket):
                    return
                self._first = self._socket.recv(NO_WAIT, copy=False)
                self._on_frames(_with_rest(self._socket, self._first))
            self._again()
        except zmq.Again:
            return
        except Exception:
            # One bad message must not keep the next ones waiting for an edge.
            self._again()
            raise
        finally:
            self._is_draining = False
            self._on_drained()


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message has come; if not, the descriptor signals the next one."""
    return bool(int(socket.getsockopt(EVENTS)) & READABLE)


def send_frames(socket: zmq.Socket[bytes], frames: Sequence[Frame], flags: int = 0) -> None:
    """Hand a message to libzmq; large frames are not copied.

    Raises:
        zmq.Again: With `NO_WAIT`, as many messages as allowed are there already.
    """
    for frame in frames[:-1]:
        _send(socket, frame, flags | MORE, len(frame) < COPY_THRESHOLD_BYTES)
    _send(socket, frames[-1], flags, len(frames[-1]) < COPY_THRESHOLD_BYTES)


def receive_frames(socket: zmq.Socket[bytes], flags: int) -> list[Frame]:
    """One message; large frames stay in libzmq's memory.

    Raises:
        zmq.Again: With `NO_WAIT`, there is none.
    """
    return _with_rest(socket, socket.recv(flags, copy=False))


def _with_rest(socket: zmq.Socket[bytes], frame: zmq.Frame) -> list[Frame]:
    frames = [_own(frame)]
    while frame.more:
        frame = socket.recv(copy=False)
        frames.append(_own(frame))
    return frames


def _own(frame: zmq.Frame) -> Frame:
    return frame.bytes if len(frame) < COPY_THRESHOLD_BYTES else frame


def bind_router(
    context: zmq.Context[zmq.Socket[bytes]],
    path: str,
    on_frames: OnFrames,
    *,
    on_drained: Callable[[], None] = lambda: None,
    max_frame_bytes: int,
    max_unsent: int,
) -> DrainedSocket:
    """The kernel's socket, bound to an ipc *path* in a private directory."""
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    # Without it libzmq drops messages to slow or absent peers without a word.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    # A newcomer with a known identity must not take over the first one's answers.
    socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
    socket.setsockopt(zmq.SNDHWM, max_unsent)
    socket.setsockopt(zmq.RCVHWM, max_unsent)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    # RFC 27/ZAP: without a domain nobody is asked whether a peer without keys may connect.
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.bind(path)
    return DrainedSocket(socket, on_frames, on_drained)


def open_dealer(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, identity: str, *, max_frame_bytes: int = -1
) -> zmq.Socket[bytes]:
    """A peer's socket, connecting to the kernel at *endpoint* as *identity*."""
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IDENTITY, identity.encode())
    socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.connect(endpoint)
    return socket
