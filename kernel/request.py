"""A request that waits inside the kernel, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from transports.frames import Parcel

# A frontend's peer id, and which of its clients asked.
ClientId: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class Request:
    """An accepted request that has not reached a worker."""

    id: str
    peer: str
    model: str
    message: Parcel
    arrived_s: float
    # Its place in the order of arrival, over all models.
    number: int
    # Its place in the queue as its frontend knows it; 0 is not told yet.
    told_position: int = 0
    # Who asked, for fairness.
    client: ClientId = field(init=False)
    # 1, 0 or -1; higher goes first.
    priority: int = field(init=False)
    # The same for the same request; "" when its frontend does not tell.
    fingerprint: str = field(init=False)
    # What it takes while it waits.
    num_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        envelope = self.message.envelope
        self.client = (self.peer, envelope.client)
        self.priority = envelope.priority
        self.fingerprint = envelope.fingerprint
        self.num_bytes = self.message.num_bytes
