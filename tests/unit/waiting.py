"""Requests as they wait in the kernel's queues."""

from __future__ import annotations

from itertools import count

from kernel.request import Request
from transports.envelope import PROTOCOL_VERSION, Envelope
from transports.frames import Parcel

_numbers = count(1)


def waiting(client: str = "a", *, priority: int = 0, num_bytes: int = 0, model: str = "m") -> Request:
    """A request of a client that has just arrived."""
    number = next(_numbers)
    id_ = f"{client}-{number:06}"
    envelope = Envelope(
        version=PROTOCOL_VERSION, type="submit", ids=(id_,), model=model, client=client, priority=priority
    )
    return Request(id_, "peer", model, Parcel(envelope, (b"x" * num_bytes,)), 0.0, number)


def clients(requests: list[Request]) -> str:
    """Whose they are, a letter a request."""
    return "".join(request.message.envelope.client for request in requests)
