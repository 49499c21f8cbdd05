"""What leaves a worker: the news of many requests gathered into one events message for each frontend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from transports.frames import Parcel, parcel
from transports.messages import Delta, Done, Events, Item, ReasoningDelta
from transports.tools import ToolCallDelta
from transports.vectors import Vectors
from workers.engine import Failure, Numbers

# Text that comes faster shares a message: fifty a second look steady, and each costs the kernel, the frontend
# and the client together about as much as a decode step of a small model.
MIN_INTERVAL_S = 0.02

# What is new of a request, and has not been given a frame yet.
News: TypeAlias = Item | Numbers


class Outbox:
    """Items that have not been sent yet. Text of one request that waits together leaves as one item."""

    def __init__(self, send: Callable[[Parcel], None], max_buffers: int) -> None:
        """Nothing waits.

        Args:
            send: Takes what is for the kernel.
            max_buffers: Of one message.
        """
        self._send = send
        self._max_buffers = max_buffers
        # Frontend -> request -> what is new of it.
        self._items: dict[str, dict[str, list[News]]] = defaultdict(dict)
        self._failures: list[tuple[str, Failure]] = []
        self._sent_s = 0.0

    def put(self, peer: str, item: News) -> None:
        """Add an item of a request of *peer*."""
        waiting = self._items[peer].setdefault(item.id, [])
        joined = _joined(waiting[-1], item) if waiting else None
        if joined is None:
            waiting.append(item)
        else:
            waiting[-1] = joined

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
            portion: list[News] = []
            num_buffers = 0
            for waiting in by_request.values():
                its_buffers = sum(isinstance(item, Numbers) for item in waiting)
                if portion and num_buffers + its_buffers > self._max_buffers:
                    self._send_events(peer, portion)
                    portion, num_buffers = [], 0
                portion += waiting
                num_buffers += its_buffers
            self._send_events(peer, portion)
        self._items.clear()
        for peer, failure in self._failures:
            ids = (failure.id,)
            self._send(parcel("failed", failure.error.to_failed(), ids=ids, finished=ids, peer=peer))
        self._failures.clear()

    def _send_events(self, peer: str, news: list[News]) -> None:
        items: list[Item] = []
        buffers: list[memoryview] = []
        for one in news:
            if isinstance(one, Numbers):
                items.append(
                    Vectors(id=one.id, buffer=len(buffers), num_rows=one.num_rows, row_size=one.row_size)
                )
                buffers.append(one.values)
            else:
                items.append(one)
        ids = tuple(dict.fromkeys(item.id for item in items))
        finished = [item.id for item in items if isinstance(item, Done)]
        self._send(
            parcel("events", Events(items=tuple(items)), buffers, ids=ids, finished=finished, peer=peer)
        )


def _joined(last: News, new: News) -> News | None:
    """Two items of a request as one; None where they are not of the same text."""
    replace = msgspec.structs.replace
    match last, new:
        case Delta(), Delta():
            return replace(last, text=last.text + new.text, logprobs=last.logprobs + new.logprobs)
        case ReasoningDelta(), ReasoningDelta():
            return replace(last, text=last.text + new.text)
        case ToolCallDelta(), ToolCallDelta() if last.index == new.index:
            return replace(last, arguments=last.arguments + new.arguments)
    return None
