"""Ending the connection of a peer from our side, for which libzmq has no call.

The descriptor belongs to libzmq. We only shut the connection down, which to libzmq is a peer that left.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys

import zmq

from transports.origin import origin_of, pid_of

# struct ucred of Linux: pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")


def disconnect(frame: zmq.Frame) -> bool:
    """End the connection that *frame* came through; whether that was possible.

    Only where the system says whose a connection is, as Linux does: the frame may have waited, and its
    descriptor be another peer's by now.
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(zmq.ZMQError, OSError, ValueError):
        pid = pid_of(origin_of(frame))
        with socket.socket(fileno=os.dup(int(frame.get(zmq.SRCFD)))) as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(credentials)[0] == pid:
                connection.shutdown(socket.SHUT_RDWR)
                return True
    return False
