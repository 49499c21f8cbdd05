"""Who is behind a connection, as the system told libzmq when it was made. Knows no message."""

from __future__ import annotations

import contextlib

import zmq


def origin_of(frame: zmq.Frame) -> str:
    """The same text for all connections of one process; "" where the system names none.

    That is so on macOS, over tcp, and for a process that another namespace hides.
    """
    with contextlib.suppress(zmq.ZMQError):
        # "localhost:<uid>:<gid>:<pid>" of an ipc connection on Linux.
        address = str(frame.get("Peer-Address"))
        fields = address.split(":")
        if len(fields) == 4 and fields[3].isdecimal() and int(fields[3]):
            return address
    return ""


def pid_of(origin: str) -> int:
    """The process of an *origin* that is not ""."""
    return int(origin.rpartition(":")[2])
