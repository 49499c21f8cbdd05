"""A worker's connection to the kernel. Pings are answered while the engine computes.

The engine's thread uses the socket itself: a thread between them would cost two changes of thread each way.
Another thread looks for pings, but only while the engine's thread does not listen.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
import zmq

from transports.codec import decode_body
from transports.errors import RemoteProtocolError
from transports.frames import Parcel, join, parcel, split
from transports.logs import get_logger
from transports.messages import Failed, Hello, Ping, Pong, Progress
from transports.sockets import NO_WAIT, is_readable, open_dealer, receive_frames, send_frames
from transports.tether import PeerBootstrap

log = get_logger()

# Envelope, body and the most images of a request.
MAX_FRAMES = 1024


def hello_of(bootstrap: PeerBootstrap) -> Hello:
    """What a worker says first."""
    return Hello(
        role="worker",
        kind=bootstrap.kind,
        name=bootstrap.name,
        token=bootstrap.token,
        pid=os.getpid(),
        mlxd_version=bootstrap.mlxd_version,
    )


class Link:
    """Belongs to the engine's thread, but for the pings."""

    def __init__(self, endpoint: str, identity: str, hello: Hello) -> None:
        """Connect and say hello."""
        self._progress: Callable[[], Pong] = Pong
        # Nothing is lost before there is an engine.
        self._has: Callable[[str], bool] = lambda _: True
        self._arrived: deque[Parcel] = deque()
        # Held by whoever touches the socket; it is also the memory fence that zmq asks for between threads.
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._dealer = open_dealer(zmq.Context.instance(), endpoint, identity)
        send_frames(self._dealer, join(parcel("hello", hello)))

    def answer_pings(self, every_s: float) -> None:
        """From now on, also while the engine's thread does not listen: look for them every *every_s*."""
        threading.Thread(target=self._answer_pings, args=(every_s,), name="pings", daemon=True).start()

    def send(self, message: Parcel) -> None:
        """Send to the kernel."""
        with self._lock:
            send_frames(self._dealer, join(message))

    def receive(self) -> Parcel:
        """The next message, once there is one.

        Raises:
            RemoteProtocolError: The kernel refused this worker.
        """
        with self._lock:
            while not self._arrived:
                self._take(0)
            return self._arrived.popleft()

    def arrived(self, *, wait: bool) -> Iterator[Parcel]:
        """The messages that have come; with *wait* at least one.

        Each counts as waiting here until the next is asked for.

        Raises:
            RemoteProtocolError: As for `receive`.
        """
        with self._lock:
            while wait and not self._arrived:
                self._take(0)
            self._take_all()
            num_messages = len(self._arrived)
        for _ in range(num_messages):
            yield self._arrived[0]
            with self._lock:
                self._arrived.popleft()

    def report_with(self, progress: Callable[[], Pong], has: Callable[[str], bool]) -> None:
        """Answer pings from now on; both are called from another thread.

        Args:
            progress: How far the engine is.
            has: Whether a request is inside it.
        """
        self._progress, self._has = progress, has

    def report_load(self, progress: Progress, counter: int) -> None:
        """Tell how far a load is; the counter shows the kernel that it goes on."""
        self._progress = lambda: Pong(progress=counter)
        self.send(parcel("progress", progress))

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._closed.set()
            self._dealer.close()

    def _answer_pings(self, every_s: float) -> None:
        try:
            while not self._closed.wait(every_s):
                # Who listens answers by itself.
                if self._lock.acquire(blocking=False):
                    try:
                        if not self._closed.is_set():
                            self._take_all()
                    finally:
                        self._lock.release()
        except Exception:
            log.exception("link_failed")
            # Without its link a worker is of no use, whatever the engine does.
            os._exit(1)

    def _take_all(self) -> None:
        # To ask first takes half the time of being refused.
        while is_readable(self._dealer):
            self._take(NO_WAIT)

    def _take(self, flags: int) -> None:
        """Receive one message; the lock must be held."""
        message = split(receive_frames(self._dealer, flags), MAX_FRAMES)
        match message.envelope.type:
            case "ping":
                send_frames(self._dealer, join(parcel("pong", self._pong(message))))
            case "failed":
                refusal = decode_body(message.body, Failed)
                raise RemoteProtocolError(f"the kernel refused this worker: {refusal.message}")
            case _:
                self._arrived.append(message)

    def _pong(self, ping: Parcel) -> Pong:
        asked = decode_body(ping.body, Ping).running
        # Before the engine is asked: meanwhile a request goes from here into it.
        waiting = {
            i for message in self._arrived if message.envelope.type == "submit" for i in message.envelope.ids
        }
        unknown = tuple(i for i in asked if i not in waiting and not self._has(i))
        return msgspec.structs.replace(self._progress(), unknown=unknown)
