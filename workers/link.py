"""The I/O thread of a worker: owns the DEALER socket, answers pings while the engine computes.

Two queues lead to the engine's thread and back: `inbox` in, an inproc socket out.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

import zmq

from transports.codec import decode_body
from transports.errors import RemoteProtocolError
from transports.frames import Frame, Parcel, join, parcel, split
from transports.logs import get_logger
from transports.messages import Failed, Hello, Pong, Progress
from transports.sockets import open_dealer

log = get_logger()

# Envelope, body and the most images of a request.
MAX_FRAMES = 1024


class Link:
    """A worker's connection to the kernel."""

    def __init__(self, endpoint: str, identity: str, hello: Hello) -> None:
        self.inbox: queue.SimpleQueue[Parcel] = queue.SimpleQueue()
        self._endpoint = endpoint
        self._identity = identity
        self._hello = hello
        self._progress: Callable[[], Pong] = Pong
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._outbox = self._context.socket(zmq.PAIR)
        self._outbox.bind("inproc://outbox")
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Connect and say hello."""
        self._thread.start()

    def send(self, message: Parcel) -> None:
        """Send to the kernel; only from the engine's thread."""
        self._outbox.send_multipart(join(message), copy=False)

    def report_with(self, progress: Callable[[], Pong]) -> None:
        """Answer pings with what *progress* gives; it is called from the I/O thread."""
        self._progress = progress

    def report_load(self, progress: Progress, counter: int) -> None:
        """Tell how far a load is; the counter shows the kernel that it goes on."""
        self._progress = lambda: Pong(progress=counter)
        self.send(parcel("progress", progress))

    def _run(self) -> None:
        try:
            self._loop()
        except Exception:
            log.exception("link_failed")
        finally:
            # Without its link a worker is of no use, whatever the engine does.
            os._exit(1)

    def _loop(self) -> None:
        dealer = open_dealer(self._context, self._endpoint, self._identity)
        outbox = self._context.socket(zmq.PAIR)
        outbox.connect("inproc://outbox")
        poller = zmq.Poller()
        poller.register(dealer, zmq.POLLIN)
        poller.register(outbox, zmq.POLLIN)
        dealer.send_multipart(join(parcel("hello", self._hello)))
        while True:
            for socket, _ in poller.poll():
                if socket is outbox:
                    dealer.send_multipart(outbox.recv_multipart(copy=False), copy=False)
                else:
                    self._receive(dealer)

    def _receive(self, dealer: zmq.Socket[bytes]) -> None:
        frames: list[Frame] = list(dealer.recv_multipart(copy=False))
        message = split(frames, MAX_FRAMES)
        match message.envelope.type:
            case "ping":
                dealer.send_multipart(join(parcel("pong", self._progress())))
            case "failed":
                refusal = decode_body(message.body, Failed)
                raise RemoteProtocolError(f"the kernel refused this worker: {refusal.message}")
            case _:
                self.inbox.put(message)
