"""Admission and order: a bounded queue for each model. Knows nothing of workers and processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from transports.errors import QueueFull
from transports.frames import Parcel
from transports.settings import KernelSettings

# Retry-After, seconds: the OpenAI SDKs obey it to the letter, so it stays small.
MIN_RETRY_S, MAX_RETRY_S = 1, 30
# Weight of the newest request in the mean service time.
SERVICE_WEIGHT = 0.2


@dataclass(slots=True)
class Request:
    """An accepted request that has not reached a worker."""

    id: str
    peer: str
    model: str
    priority: int
    message: Parcel
    arrived_s: float
    # When it has waited for too long; None while its model is not ready.
    deadline_s: float | None = None


class Scheduler:
    """Requests that wait, first come first served within a priority."""

    def __init__(self, settings: KernelSettings) -> None:
        self._settings = settings
        self._queues: dict[str, dict[str, Request]] = {}
        self._model_of: dict[str, str] = {}
        self._service_s: dict[str, float] = {}

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            QueueFull: Too many wait for this model, or too many bytes.
        """
        queue = self._queues.get(request.model, {})
        if len(queue) >= self._settings.max_queued:
            raise QueueFull(
                f"{request.model}: {len(queue)} requests wait already, the most that "
                "kernel.max_queued allows; try again later",
                retry_after_s=self.retry_after_s(request.model),
            )
        num_bytes = sum(waiting.message.num_bytes for waiting in queue.values())
        if num_bytes + request.message.num_bytes > self._settings.max_queued_bytes:
            raise QueueFull(
                f"{request.model}: {num_bytes} bytes of requests wait already; kernel.max_queued_bytes "
                f"allows {self._settings.max_queued_bytes}; try again later",
                retry_after_s=self.retry_after_s(request.model),
            )
        self._queues.setdefault(request.model, queue)[request.id] = request
        self._model_of[request.id] = request.model

    def take(self, model: str) -> Request | None:
        """The next request for *model*, no longer queued; None when none waits."""
        queue = self._queues.get(model)
        if not queue:
            return None
        # The first of the highest priority: max keeps the earliest among equals.
        request = max(queue.values(), key=lambda waiting: waiting.priority)
        return self.remove(request.id)

    def remove(self, request_id: str) -> Request | None:
        """Take a request out; None when it is not queued."""
        model = self._model_of.pop(request_id, None)
        if model is None:
            return None
        queue = self._queues[model]
        request = queue.pop(request_id)
        if not queue:
            del self._queues[model]
        return request

    def get(self, request_id: str) -> Request | None:
        """A queued request."""
        model = self._model_of.get(request_id)
        return self._queues[model][request_id] if model else None

    def waiting(self, model: str) -> tuple[Request, ...]:
        """Those that wait for *model*, in their order of arrival."""
        return tuple(self._queues.get(model, {}).values())

    def models(self) -> tuple[str, ...]:
        """Models that are waited for."""
        return tuple(self._queues)

    def select(self, wanted: Callable[[Request], bool]) -> tuple[Request, ...]:
        """Queued requests for which *wanted* is true."""
        return tuple(r for queue in self._queues.values() for r in queue.values() if wanted(r))

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._model_of

    def __len__(self) -> int:
        return len(self._model_of)

    def model_ready(self, model: str, now: float) -> None:
        """From now on waiting for a slot of *model* counts."""
        for request in self.waiting(model):
            if request.deadline_s is None:
                request.deadline_s = now + self._settings.max_queued_s

    def expired(self, now: float) -> tuple[Request, ...]:
        """Those that have waited for too long."""
        return self.select(lambda r: r.deadline_s is not None and r.deadline_s <= now)

    def next_deadline(self) -> float | None:
        """When the next request has waited for too long."""
        deadlines = [r.deadline_s for r in self.select(lambda r: r.deadline_s is not None)]
        return min((d for d in deadlines if d is not None), default=None)

    def served(self, model: str, service_s: float) -> None:
        """Note how long a worker took for a request."""
        known = self._service_s.get(model, service_s)
        self._service_s[model] = known + SERVICE_WEIGHT * (service_s - known)

    def retry_after_s(self, model: str) -> int:
        """When a place in the queue may be free, whole seconds."""
        estimate = math.ceil(self._service_s.get(model, MIN_RETRY_S))
        return max(MIN_RETRY_S, min(MAX_RETRY_S, estimate))
