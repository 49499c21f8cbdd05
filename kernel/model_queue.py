"""The requests that wait for one model: priorities, and who gives way when it is full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kernel.fairness import FairQueue
from kernel.request import ClientId, Request
from transports.settings import KernelSettings

# High, normal, low.
PRIORITIES = (1, 0, -1)
# A lower priority waits while so many requests of higher ones go first; then one of it goes.
MAX_PASSED = 8
# Weight of the newest request in the mean service time.
SERVICE_WEIGHT = 0.2
# Of a model that has not answered yet: a guess, seconds.
UNKNOWN_SERVICE_S = 1.0


class Waits(NamedTuple):
    """How long requests wait for a model."""

    # Of the one that has waited longest, seconds.
    oldest_s: float = 0.0
    # Requests that got a slot, and how long they all had waited for it, seconds.
    num_started: int = 0
    total_s: float = 0.0


class ModelQueue:
    """A bounded queue. Higher priorities first, clients in fair turns, and nobody for ever last."""

    def __init__(self, settings: KernelSettings) -> None:
        self._settings = settings
        self._by_priority = {priority: FairQueue() for priority in PRIORITIES}
        # How many requests of higher priority went first while one of this waited.
        self._num_passed = dict.fromkeys(PRIORITIES, 0)
        self._num_waiting = 0
        self._num_bytes = 0
        self._num_started = 0
        self._waited_s = 0.0
        # Mean time in a slot, seconds.
        self._service_s: float | None = None

    def __len__(self) -> int:
        """Requests that wait."""
        return self._num_waiting

    def __iter__(self) -> Iterator[Request]:
        """Requests that wait, the higher priorities first."""
        for queue in self._by_priority.values():
            yield from queue

    @property
    def num_bytes(self) -> int:
        """What waits takes so much."""
        return self._num_bytes

    @property
    def service_s(self) -> float:
        """How long a request holds a slot, seconds; the newer ones count more."""
        return UNKNOWN_SERVICE_S if self._service_s is None else self._service_s

    def add(self, request: Request) -> None:
        """Let a request wait; look at `has_room` before."""
        queue = self._by_priority[request.priority]
        if not queue:
            self._num_passed[request.priority] = 0
        queue.add(request)
        self._num_waiting += 1
        self._num_bytes += request.num_bytes

    def remove(self, request: Request) -> None:
        """Take out a request that waits."""
        self._by_priority[request.priority].remove(request)
        self._left(request)

    def next(self) -> Request | None:
        """Whose turn it is; it goes on waiting."""
        priority = _next_priority(self._num_passed, self._by_priority)
        return None if priority is None else self._by_priority[priority].next()

    def waits(self, now: float) -> Waits:
        """How long requests wait."""
        oldest_s = min((request.arrived_s for request in self), default=now)
        return Waits(now - oldest_s, self._num_started, self._waited_s)

    def start(self, request: Request, now: float) -> float:
        """Take a waiting request out because it runs from now on; what `end` must be given, seconds."""
        self._num_started += 1
        self._waited_s += now - request.arrived_s
        charged_s = self._by_priority[request.priority].start(request, self.service_s)
        self._left(request)
        _pass(self._num_passed, request.priority, self._by_priority)
        return charged_s

    def start_at_once(self, request: Request) -> float:
        """As `start`, for a request that never waited, while none does."""
        self._num_started += 1
        return self._by_priority[request.priority].start_at_once(request.client, self.service_s)

    def end(self, client: ClientId, priority: int, charged_s: float, service_s: float) -> None:
        """A request has left its slot after *service_s* seconds."""
        known = service_s if self._service_s is None else self._service_s
        self._service_s = known + SERVICE_WEIGHT * (service_s - known)
        self._by_priority[priority].end(client, charged_s, service_s)

    def order(self) -> Iterator[Request]:
        """Those that wait as they will go if nobody else comes."""
        orders = {p: queue.order(self.service_s) for p, queue in self._by_priority.items()}
        left = {p: len(queue) for p, queue in self._by_priority.items()}
        passed = dict(self._num_passed)
        while (priority := _next_priority(passed, left)) is not None:
            left[priority] -= 1
            _pass(passed, priority, left)
            yield next(orders[priority])

    # --- when it is full ------------------------------------------------------------------------

    def has_room(self, request: Request) -> bool:
        """Whether one more may wait."""
        return (
            self._num_waiting < self._settings.max_queued
            and self._num_bytes + request.num_bytes <= self._settings.max_queued_bytes
        )

    def giving_way(self, request: Request) -> tuple[Request, ...]:
        """The requests in whose place *request* may wait; none when it has to be refused.

        They are the newest ones of the client that takes up most, from its lowest priority on, and only as
        long as that client still takes up more than the one of *request*.
        """
        shares = self._shares()
        if not shares:
            return ()
        num, num_bytes = shares.get(request.client, (0, 0))
        share = self._share(num + 1, num_bytes + request.num_bytes)
        client = max(shares, key=lambda client: self._share(*shares[client]))
        num, num_bytes = shares[client]
        num_over = self._num_waiting + 1 - self._settings.max_queued
        bytes_over = self._num_bytes + request.num_bytes - self._settings.max_queued_bytes
        given: list[Request] = []
        for waiting in self._newest_of(client):
            if num_over <= 0 and bytes_over <= 0:
                break
            if self._share(num, num_bytes) <= share:
                return ()
            given.append(waiting)
            num, num_bytes = num - 1, num_bytes - waiting.num_bytes
            num_over, bytes_over = num_over - 1, bytes_over - waiting.num_bytes
        return tuple(given) if num_over <= 0 and bytes_over <= 0 else ()

    def _shares(self) -> dict[ClientId, tuple[int, int]]:
        """How many requests of each client wait, and their bytes."""
        shares: dict[ClientId, tuple[int, int]] = {}
        for queue in self._by_priority.values():
            for client, num, num_bytes in queue.shares():
                known, known_bytes = shares.get(client, (0, 0))
                shares[client] = known + num, known_bytes + num_bytes
        return shares

    def _share(self, num: int, num_bytes: int) -> float:
        """The part of the queue that somebody takes up: of its places or of its bytes, whichever is more."""
        of_bytes = num_bytes / self._settings.max_queued_bytes if self._settings.max_queued_bytes else 0.0
        return max(num / self._settings.max_queued, of_bytes)

    def _newest_of(self, client: ClientId) -> Iterator[Request]:
        for priority in reversed(PRIORITIES):
            yield from reversed(self._by_priority[priority].waiting_of(client))

    def _left(self, request: Request) -> None:
        self._num_waiting -= 1
        self._num_bytes -= request.num_bytes


def _next_priority(num_passed: Mapping[int, int], waiting: Mapping[int, object]) -> int | None:
    """The highest that waits, unless a lower one has been passed over often enough.

    Args:
        num_passed: By priority.
        waiting: By priority; true where somebody waits.
    """
    chosen = None
    for priority in PRIORITIES:
        if waiting[priority]:
            is_late = num_passed[priority] >= MAX_PASSED
            if chosen is None or (is_late and num_passed[priority] > num_passed[chosen]):
                chosen = priority
    return chosen


def _pass(num_passed: dict[int, int], went: int, waiting: Mapping[int, object]) -> None:
    """Count that a request of priority *went* went before those of lower ones that wait."""
    num_passed[went] = 0
    for priority in PRIORITIES[PRIORITIES.index(went) + 1 :]:
        if waiting[priority]:
            num_passed[priority] += 1
