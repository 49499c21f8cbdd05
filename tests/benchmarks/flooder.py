"""A frontend that does nothing but harm: sends as fast as it can, and never reads. Cut off, it comes back.

`flooder.py CONNECTION_FILE KIND NUM_MESSAGES MODEL STALL_MS`, KIND of `floods`, or `mix` for all small ones
in turn. A connection that takes nothing for STALL_MS is given up: libzmq does not notice the end of one whose
messages nobody reads.

Prints a line when its hello is out. Each line on its stdin is a flood, and it prints a line after it: how
many connections it has had.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path

import msgspec
import zmq

from transports.codec import encode
from transports.envelope import Message, new_id
from transports.frames import Frame, join, parcel
from transports.messages import Cancel, ChatMessage, ChatRequest, Hello, Pong
from transports.reports import Admin
from transports.rundir import Connection

HUGE_BYTES = 8 * 1024 * 1024
# Between two looks whether the connection stands.
LOOK_MESSAGES = 100
Frames = list[Frame]


def floods(connection: Connection, model: str) -> dict[str, Callable[[], Frames]]:
    """What each kind sends: makers of a message."""
    body = ChatRequest(messages=(ChatMessage(role="user", content="flood"),))
    submit, question = encode(body), encode(Admin())
    wrong = _hello(connection.version, "wrong")
    huge = secrets.token_bytes(HUGE_BYTES)

    def named(type_: str, ids: tuple[str, ...], frame: bytes, task: str) -> Frames:
        envelope = {"version": 1, "type": type_, "ids": ids, "model": model, "task": task}
        return [msgspec.msgpack.encode(envelope), frame]

    return {
        "malformed": lambda: [b"no envelope"],
        "unknown": lambda: named("teapot", (), b"\x80", ""),
        "pongs": lambda: join(parcel("pong", Pong())),
        "cancels": lambda: join(parcel("cancel", Cancel(), ids=[new_id()])),
        "submits": lambda: named("submit", (new_id(),), submit, "chat"),
        "no bodies": lambda: named("submit", (new_id(),), submit, "chat")[:1],
        "questions": lambda: named("admin", (new_id(),), question, "status"),
        "hellos": lambda: join(parcel("hello", wrong)),
        "huge": lambda: [*named("submit", (new_id(),), submit, "chat"), huge],
    }


class Flooder:
    """Sends, over a new connection when the kernel has closed one. What dies with one counts as sent."""

    def __init__(self, connection: Connection, stall_ms: int) -> None:
        self._stall_ms = stall_ms
        self.num_connections = 0
        self._connection = connection
        self._open()

    def flood(self, makers: Iterable[Callable[[], Frames]], num_messages: int) -> None:
        """Send so many."""
        for sent, make in enumerate(islice(makers, num_messages)):
            if sent % LOOK_MESSAGES == 0 and self._events.poll(0):
                self._close()
                self._open()
            frames = make()
            while not self._sent(frames):
                self._close()
                self._open()

    def _sent(self, frames: Frames) -> bool:
        """Wait until libzmq takes it; False if the connection is gone, or nothing goes through it."""
        while True:
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
            except zmq.Again:
                if not self._poller.poll(self._stall_ms) or self._events.poll(0):
                    return False
            else:
                return True

    def _open(self) -> None:
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IDENTITY, new_id().encode())
        self._events = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLOUT)
        self._poller.register(self._events, zmq.POLLIN)
        self._socket.connect(self._connection.endpoint)
        hello = _hello(self._connection.version, self._connection.token)
        self._socket.send_multipart(join(parcel("hello", hello)))
        self.num_connections += 1

    def _close(self) -> None:
        self._socket.disable_monitor()
        self._events.close(0)
        self._socket.close(0)


def main(connection_file: str, kind: str, num_messages: str, model: str, stall_ms: str) -> None:
    """Flood when told to."""
    connection = msgspec.json.decode(Path(connection_file).read_bytes(), type=Connection)
    makers = floods(connection, model)
    small = [make for name, make in makers.items() if name != "huge"]
    chosen = small if kind == "mix" else [makers[kind]]
    flooder = Flooder(connection, int(stall_ms))
    print("ready", flush=True)
    for _ in sys.stdin:
        flooder.flood(cycle(chosen), int(num_messages))
        print(flooder.num_connections, flush=True)


def _hello(version: str, token: str) -> Message:
    return Hello(
        role="frontend", kind="flooder", name="flooder", token=token, pid=os.getpid(), mlxd_version=version
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
