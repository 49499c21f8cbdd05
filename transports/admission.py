"""Who may connect to the ROUTERs of a context: libzmq asks at each handshake. Knows no message."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import zmq

from transports.frames import Frame, as_buffer
from transports.origin import origin_at
from transports.sockets import DrainedSocket, PeerGone

# RFC 27/ZAP: the handler binds to this endpoint, and libzmq connects to it.
ENDPOINT = "inproc://zeromq.zap.01"
ACCEPTED = b"200"

Admits = Callable[[str], bool]


def bind_admission(context: zmq.Context[zmq.Socket[bytes]], admits: Admits) -> DrainedSocket:
    """Let in from now on whom *admits* says, which is given origins; "" is unknown.

    The others have no answer. They send nothing until libzmq ends the handshake, and may then try again.
    Refused, they would try again at once, or never, and whoever sends by such a socket waits for ever.
    """
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    socket.bind(ENDPOINT)

    def on_frames(frames: list[Frame]) -> None:
        if reply := answer([bytes(as_buffer(frame)) for frame in frames], admits):
            # Who left meanwhile needs none.
            with contextlib.suppress(PeerGone):
                drained.send(reply)

    drained = DrainedSocket(socket, on_frames)
    return drained


def answer(request: Sequence[bytes], admits: Admits) -> list[bytes]:
    """The reply to one question of libzmq; nothing if there is none."""
    match request:
        # RFC 27/ZAP: version, request id, domain, address, identity, mechanism, credentials.
        case [asker, b"", b"1.0" as version, request_id, _, address, _, _, *_] if admits(
            origin_at(address.decode("latin-1"))
        ):
            # Status text, user id, and metadata are empty.
            return [asker, b"", version, request_id, ACCEPTED, b"", b"", b""]
        case _:
            return []
