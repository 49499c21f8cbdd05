"""Who is behind a connection, as the system told libzmq when it was made. Knows no message."""

from __future__ import annotations

import contextlib

import zmq


def origin_of(frame: zmq.Frame) -> str:
    """As `origin_at`, of the connection that *frame* came through."""
    with contextlib.suppress(zmq.ZMQError):
        return origin_at(str(frame.get("Peer-Address")))
    return ""


def origin_at(address: str) -> str:
    """The same text for all connections of one process; "" where the system names none.

    That is so on macOS, over tcp, and for a process that another namespace hides.

    Args:
        address: As libzmq says: "localhost:<uid>:<gid>:<pid>" of an ipc connection on Linux.
    """
    fields = address.split(":")
    return address if len(fields) == 4 and fields[3].isdecimal() and int(fields[3]) else ""


def pid_of(origin: str) -> int:
    """The process of an *origin* that is not ""."""
    return int(origin.rpartition(":")[2])
