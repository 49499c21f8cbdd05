"""The requests inside workers, and which of them run alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from kernel.request import ClientId


@dataclass(slots=True)
class Route:
    """A request inside a worker."""

    id: str
    peer: str
    model: str
    # The supervisor's name of the worker.
    worker: str
    started_s: float
    client: ClientId
    priority: int
    fingerprint: str
    # What its client was charged for it in advance, seconds.
    charged_s: float
    # A suspect: nothing else may run beside it.
    is_alone: bool
    # Its frontend does not want it any more; its worker was told.
    is_cancelled: bool = False
    # When its worker said for the first time in a row that it does not have it.
    missed_s: float | None = None


class Running:
    """Routes by request id, counted by model."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._num_in: dict[str, int] = defaultdict(int)
        # Models whose worker has a suspect.
        self._closed: set[str] = set()

    def __iter__(self) -> Iterator[Route]:
        return iter(list(self._routes.values()))

    def __len__(self) -> int:
        return len(self._routes)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._routes

    def get(self, request_id: str) -> Route | None:
        """Where a request runs."""
        return self._routes.get(request_id)

    def num_in(self, model: str) -> int:
        """Requests inside the worker of *model*."""
        return self._num_in.get(model, 0)

    def has_slot(self, model: str, num_slots: int) -> bool:
        """Whether the worker of *model* may get one more."""
        return self.num_in(model) < num_slots and model not in self._closed

    def add(self, route: Route) -> None:
        """A request goes to a worker that has a slot for it."""
        self._routes[route.id] = route
        self._num_in[route.model] += 1
        if route.is_alone:
            self._closed.add(route.model)

    def remove(self, route: Route) -> None:
        """A request has left its worker."""
        del self._routes[route.id]
        self._num_in[route.model] -= 1
        if not self._num_in[route.model]:
            del self._num_in[route.model]
        if route.is_alone:
            self._closed.discard(route.model)
