"""What leaves a worker: the news of many requests gathered into one events message for each frontend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import msgspec

from transports.frames import Parcel, parcel
from transports.messages import Delta, Done, Events, Item
from workers.engine import Failure

# Text that comes faster shares a message: fifty a second look steady, and each costs the kernel, the frontend
# and the client together about as much as a decode step of a small model.
MIN_INTERVAL_S = 0.02


class Outbox:
    """Items that have not been sent yet. Text of one request that waits together leaves as one delta."""

    def __init__(self, send: Callable[[Parcel], None]) -> None:
        """Nothing waits.

        Args:
            send: Takes what is for the kernel.
        """
        self._send = send
        # Frontend -> request -> what is new of it.
        self._items: dict[str, dict[str, list[Item]]] = defaultdict(dict)
        self._failures: list[tuple[str, Failure]] = []
        self._sent_s = 0.0

    def put(self, peer: str, item: Item) -> None:
        """Add an item of a request of *peer*."""
        waiting = self._items[peer].setdefault(item.id, [])
        last = waiting[-1] if waiting else None
        if isinstance(item, Delta) and isinstance(last, Delta):
            waiting[-1] = msgspec.structs.replace(
                last, text=last.text + item.text, logprobs=last.logprobs + item.logprobs
            )
        else:
            waiting.append(item)

    def fail(self, peer: str, failure: Failure) -> None:
        """Add the bad end of a request of *peer*."""
        self._failures.append((peer, failure))

    def is_due(self, now: float) -> bool:
        """Whether the last message is `MIN_INTERVAL_S` ago; monotonic seconds."""
        return now - self._sent_s >= MIN_INTERVAL_S

    def flush(self, now: float) -> None:
        """Send everything."""
        if not self._items and not self._failures:
            return
        self._sent_s = now
        for peer, by_request in self._items.items():
            items = tuple(item for waiting in by_request.values() for item in waiting)
            finished = [item.id for item in items if isinstance(item, Done)]
            self._send(
                parcel("events", Events(items=items), ids=tuple(by_request), finished=finished, peer=peer)
            )
        self._items.clear()
        for peer, failure in self._failures:
            ids = (failure.id,)
            self._send(parcel("failed", failure.error.to_failed(), ids=ids, finished=ids, peer=peer))
        self._failures.clear()
