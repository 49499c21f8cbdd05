"""A request that waits inside the kernel, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
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

    @property
    def client(self) -> ClientId:
        """Who asked, for fairness."""
        return self.peer, self.message.envelope.client

    @property
    def priority(self) -> int:
        """1, 0 or -1; higher goes first."""
        return self.message.envelope.priority

    @property
    def fingerprint(self) -> str:
        """The same for the same request; "" when its frontend does not tell."""
        return self.message.envelope.fingerprint

    @property
    def num_bytes(self) -> int:
        """What it takes while it waits."""
        return self.message.num_bytes
