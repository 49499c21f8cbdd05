"""What frontends are told of their requests while these wait, and when they end without a worker's word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from kernel.actions import Emit, Send
from kernel.request import Request
from transports.errors import MlxdError
from transports.frames import parcel
from transports.messages import Done, Events, Progress, Usage

# Named in one message: so many ids of 64 characters, twice, stay within an envelope.
MAX_IDS_TOLD = 256
# Of one queue, the first so many are told their place; for the others it is a number without a meaning.
MAX_POSITIONS_TOLD = 256


class Notices:
    """Messages from the kernel to frontends, as few as say it all."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def cancelled(self, peer: str, request_id: str) -> None:
        """The end of a request that no worker has seen."""
        usage = Usage(prompt_tokens=0, completion_tokens=0)
        events = Events(items=(Done(id=request_id, finish_reason="cancelled", usage=usage),))
        self._emit(Send(peer, parcel("events", events, ids=(request_id,), finished=(request_id,))))

    def failed(self, ended: Iterable[tuple[str, str]], error: MlxdError) -> None:
        """The bad end of requests: frontend and id of each."""
        for peer, ids in _batches(ended):
            self._emit(Send(peer, parcel("failed", error.to_failed(), ids=ids, finished=ids)))

    def progress(self, requests: Iterable[Request], progress: Progress) -> None:
        """Why requests wait."""
        for peer, ids in _batches((request.peer, request.id) for request in requests):
            self._emit(Send(peer, parcel("progress", progress, ids=ids)))

    def positions(self, order: Iterable[Request]) -> None:
        """Where requests that wait for a slot stand now, if that has changed."""
        for position, request in zip(range(1, MAX_POSITIONS_TOLD + 1), order, strict=False):
            if position != request.told_position:
                request.told_position = position
                self.progress((request,), Progress(phase="queued", position=position))


def _batches(requests: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Frontends with the ids of their requests, not too many at once."""
    by_peer: dict[str, list[str]] = defaultdict(list)
    for peer, request_id in requests:
        by_peer[peer].append(request_id)
    for peer, ids in by_peer.items():
        for start in range(0, len(ids), MAX_IDS_TOLD):
            yield peer, ids[start : start + MAX_IDS_TOLD]
