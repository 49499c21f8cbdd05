"""A frontend that does nothing but harm: sends as fast as it can, and never reads.

`flooder.py CONNECTION_FILE KIND NUM_MESSAGES MODEL`, KIND of `floods`. Prints a line when its hello is out;
begins with a line on its stdin.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from itertools import repeat
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


def main(connection_file: str, kind: str, num_messages: str, model: str) -> None:
    """Flood."""
    connection = msgspec.json.decode(Path(connection_file).read_bytes(), type=Connection)
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IDENTITY, new_id().encode())
    socket.connect(connection.endpoint)
    make = floods(connection, model)[kind]
    socket.send_multipart(join(parcel("hello", _hello(connection.version, connection.token))))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in repeat(None, int(num_messages)):
        socket.send_multipart(make(), copy=False)
    print("done", flush=True)


def _hello(version: str, token: str) -> Message:
    return Hello(
        role="frontend", kind="flooder", name="flooder", token=token, pid=os.getpid(), mlxd_version=version
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
