"""A frontend that floods, reads why it is cut off, and comes back under another identity.

`flood_reader.py CONNECTION_FILE`. Prints the code and the message of what it was told, then "closed", then
"nothing" or what came of its next connection, and what came of one at last. On systems that do not tell whose
a connection is, it prints only what it was told.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import zmq

from transports.codec import decode_body
from transports.envelope import new_id
from transports.frames import join, parcel, split
from transports.messages import Failed, Hello
from transports.rundir import Connection

# Of each thing waited for, ms.
PATIENCE_MS = 10_000
# A kernel that lets somebody in says so within a moment.
WELCOME_MS = 500


class Life:
    """A connection to the kernel that said hello."""

    def __init__(self, connection: Connection) -> None:
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        self.socket.setsockopt(zmq.IDENTITY, new_id().encode())
        self.events = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.socket.connect(connection.endpoint)
        hello = Hello(
            role="frontend",
            kind="flood",
            name="reader",
            token=connection.token,
            pid=os.getpid(),
            mlxd_version=connection.version,
        )
        self.socket.send_multipart(join(parcel("hello", hello)))

    def until_told(self) -> Failed:
        """Break the protocol until the kernel says that it is enough."""
        while True:
            self.socket.send(b"no envelope")
            while self.socket.poll(1):
                message = split(self.socket.recv_multipart(), 16)
                if message.envelope.type == "failed":
                    return decode_body(message.body, Failed)

    def until_closed(self) -> None:
        """Send on until the connection is closed."""
        while not self.events.poll(20):
            self.socket.send(b"more of it")

    def what_comes(self) -> str:
        """The end of the connection, or a message."""
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.events, zmq.POLLIN)
        found = dict(poller.poll(WELCOME_MS))
        if self.socket in found:
            return split(self.socket.recv_multipart(), 16).envelope.type
        return "closed" if self.events in found else "nothing"

    def close(self) -> None:
        """Leave."""
        self.socket.disable_monitor()
        self.events.close(0)
        self.socket.close(0)


def main(connection_file: str) -> None:
    """Live until the kernel listens again."""
    connection = msgspec.json.decode(Path(connection_file).read_bytes(), type=Connection)
    life = Life(connection)
    failed = life.until_told()
    print(failed.code, failed.message, flush=True)
    if sys.platform == "linux":
        life.until_closed()
        print("closed", flush=True)
        life.close()
        life = Life(connection)
        print(came := life.what_comes(), flush=True)
        while came == "nothing":
            life.close()
            life = Life(connection)
            came = life.what_comes()
        print(came, flush=True)
    life.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
