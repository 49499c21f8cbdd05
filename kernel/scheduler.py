"""Admission and order: a bounded, fair queue for each model. Knows nothing of workers and processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from kernel.deadlines import Deadlines
from kernel.model_queue import ModelQueue, Waits
from kernel.request import ClientId, Request
from transports.errors import QueueFull
from transports.settings import KernelSettings

# Retry-After, seconds: the OpenAI SDKs obey it to the letter, so it stays small.
MIN_RETRY_S, MAX_RETRY_S = 1, 30


class Scheduler:
    """All requests that wait, and when they have waited for too long."""

    def __init__(self, settings: KernelSettings) -> None:
        self._settings = settings
        self._requests: dict[str, Request] = {}
        # Of every model that was ever asked for: it remembers who used how much.
        self._queues: dict[str, ModelQueue] = {}
        # Those of them in which somebody waits.
        self._waited_for: dict[str, ModelQueue] = {}
        self._deadlines = Deadlines()

    def add(self, request: Request, deadline_s: float | None, num_slots: int) -> tuple[Request, ...]:
        """Queue a request.

        Args:
            request: Not queued yet.
            deadline_s: When it has waited for too long; None while its model is not ready.
            num_slots: Of its model's worker.

        Returns:
            Requests of another client that took up more than its share; they are not queued any more.

        Raises:
            QueueFull: Too many wait for this model, or too many bytes.
        """
        queue = self._queue_of(request.model)
        given: tuple[Request, ...] = ()
        if not queue.has_room(request):
            given = queue.giving_way(request)
            if not given:
                raise self.full(request.model, num_slots)
            for waiting in given:
                self.remove(waiting.id)
        queue.add(request)
        self._requests[request.id] = request
        self._waited_for[request.model] = queue
        if deadline_s is not None:
            self._deadlines.set(request.id, deadline_s)
        return given

    def full(self, model: str, num_slots: int) -> QueueFull:
        """What one is told for whom there is no room."""
        queue = self._queues[model]
        return QueueFull(
            f"{model}: {len(queue)} requests of {queue.num_bytes} bytes wait already; "
            f"kernel.max_queued allows {self._settings.max_queued}, kernel.max_queued_bytes "
            f"{self._settings.max_queued_bytes}; try again later",
            retry_after_s=self.retry_after_s(model, num_slots),
        )

    def next(self, model: str) -> Request | None:
        """Whose turn it is; it goes on waiting. None when nobody waits for *model*."""
        queue = self._waited_for.get(model)
        return queue.next() if queue else None

    def start(self, request: Request, now: float) -> float:
        """Take a queued request out because a worker gets it; what `end` must be given, seconds."""
        queue = self._queues[request.model]
        charged_s = queue.start(request, now)
        self._forget(request, queue)
        return charged_s

    def start_at_once(self, request: Request) -> float:
        """As `add` and `start`, for a request whose model nobody waits for."""
        return self._queue_of(request.model).start_at_once(request)

    def end(self, model: str, client: ClientId, priority: int, charged_s: float, service_s: float) -> None:
        """A worker is done with a request after *service_s* seconds."""
        self._queues[model].end(client, priority, charged_s, service_s)

    def remove(self, request_id: str) -> Request | None:
        """Take a request out that nobody waits for any more; None when it is not queued."""
        request = self._requests.get(request_id)
        if request is None:
            return None
        queue = self._queues[request.model]
        queue.remove(request)
        self._forget(request, queue)
        return request

    def get(self, request_id: str) -> Request | None:
        """A queued request."""
        return self._requests.get(request_id)

    def waiting(self, model: str) -> tuple[Request, ...]:
        """Those that wait for *model*, in no particular order."""
        return tuple(self._waited_for.get(model, ()))

    def num_waiting(self, model: str) -> int:
        """How many wait for *model*."""
        return len(self._waited_for.get(model, ()))

    def order(self, model: str) -> Iterator[Request]:
        """Those that wait for *model* as they will go if nobody else comes."""
        queue = self._waited_for.get(model)
        return queue.order() if queue else iter(())

    def waits(self, model: str, now: float) -> Waits:
        """How long requests wait for *model*."""
        queue = self._queues.get(model)
        # An empty queue is false.
        return Waits() if queue is None else queue.waits(now)

    def models(self) -> tuple[str, ...]:
        """Models that are waited for."""
        return tuple(self._waited_for)

    def select(self, wanted: Callable[[Request], bool]) -> tuple[Request, ...]:
        """Queued requests for which *wanted* is true."""
        return tuple(request for request in self._requests.values() if wanted(request))

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def __len__(self) -> int:
        return len(self._requests)

    def has_deadline(self, request_id: str) -> bool:
        """Whether its time is limited already."""
        return request_id in self._deadlines

    def model_ready(self, model: str, now: float) -> None:
        """From now on waiting for a slot of *model* counts."""
        for request in self.waiting(model):
            if request.id not in self._deadlines:
                self._deadlines.set(request.id, now + self._settings.max_queued_s)

    def pop_expired(self, now: float) -> list[Request]:
        """Those that have waited for too long, in the order of their deadlines; no longer queued."""
        return [request for id_ in self._deadlines.pop_due(now) if (request := self.remove(id_))]

    def next_deadline(self) -> float | None:
        """When the next request has waited for too long."""
        return self._deadlines.next_s()

    def retry_after_s(self, model: str, num_slots: int) -> int:
        """When those that wait now will have been served, whole seconds."""
        queue = self._queues.get(model)
        estimate_s = 0.0 if queue is None else queue.service_s * len(queue) / num_slots
        return max(MIN_RETRY_S, min(MAX_RETRY_S, math.ceil(estimate_s)))

    def check(self) -> None:
        """Raise AssertionError if a request could be lost; for tests."""
        queued = {request.id for queue in self._queues.values() for request in queue}
        waited_for = {model for model, queue in self._queues.items() if len(queue)}
        is_whole = queued == set(self._requests) and waited_for == set(self._waited_for)
        is_counted = all(len(queue) == sum(1 for _ in queue) for queue in self._queues.values())
        has_next = all(queue.next() is not None for queue in self._waited_for.values())
        if not (is_whole and is_counted and has_next):
            raise AssertionError("the queues disagree on who waits")

    def _queue_of(self, model: str) -> ModelQueue:
        queue = self._queues.get(model)
        if queue is None:
            queue = self._queues[model] = ModelQueue(self._settings)
        return queue

    def _forget(self, request: Request, queue: ModelQueue) -> None:
        del self._requests[request.id]
        self._deadlines.discard(request.id)
        if not len(queue):
            self._waited_for.pop(request.model, None)
