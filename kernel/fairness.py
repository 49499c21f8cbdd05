"""Fair order among clients: who has used the least service goes next. Knows no priorities and no models.

Start-time fair queueing (Goyal, Vin, Cheng 1996): each client has a clock that its requests push on by the
time that they hold a slot. A client that comes back begins where the others are, so that nobody saves up.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from kernel.request import ClientId, Request

# A request counts for at least so long, seconds: any number of quick ones must not keep others waiting.
MIN_SERVICE_S = 0.001
# Clients without requests whose clock is remembered, for each queue.
MAX_REMEMBERED = 1024
# Entries of `_turns` that are out of date, before they are thrown out.
MAX_STALE = 64


@dataclass(slots=True)
class _Client:
    """Somebody with requests that wait or run."""

    # Service used, seconds, on the queue's clock.
    used_s: float
    # In order of arrival.
    waiting: OrderedDict[str, Request] = field(default_factory=OrderedDict)
    # Of those that wait.
    num_bytes: int = 0
    num_running: int = 0


class FairQueue:
    """Requests of one model and priority: first come, first served for each client, fair among them."""

    def __init__(self) -> None:
        self._clients: dict[ClientId, _Client] = {}
        self._remembered: OrderedDict[ClientId, float] = OrderedDict()
        # The clock of the client that went last, when it went.
        self._clock_s = 0.0
        # (clock, number of the first request, client); one whose clock has changed since is out of date.
        self._turns: list[tuple[float, int, ClientId]] = []
        self._num_waiting = 0

    def __len__(self) -> int:
        """Requests that wait."""
        return self._num_waiting

    def __iter__(self) -> Iterator[Request]:
        """Requests that wait, client by client."""
        for client in self._clients.values():
            yield from client.waiting.values()

    def add(self, request: Request) -> None:
        """Let a request wait."""
        client = self._client(request.client)
        client.waiting[request.id] = request
        client.num_bytes += request.num_bytes
        self._num_waiting += 1
        if len(client.waiting) == 1:
            self._set_turn(request.client, client)

    def next(self) -> Request | None:
        """Whose turn it is; it goes on waiting."""
        while self._turns:
            used_s, _, client_id = self._turns[0]
            client = self._clients.get(client_id)
            if client and client.waiting and client.used_s == used_s:
                return next(iter(client.waiting.values()))
            heapq.heappop(self._turns)
        return None

    def start(self, request: Request, expected_s: float) -> float:
        """Take a waiting request out because it runs from now on.

        Returns:
            What its client is charged for it, seconds; to be given back to `end`.
        """
        client = self._clients[request.client]
        charged_s = self._charge(client, expected_s)
        self.remove(request)
        if client.waiting:
            self._set_turn(request.client, client)
        return charged_s

    def start_at_once(self, client_id: ClientId, expected_s: float) -> float:
        """As `start`, for a request that never waited, while none does."""
        return self._charge(self._client(client_id), expected_s)

    def end(self, client_id: ClientId, charged_s: float, service_s: float) -> None:
        """A request of a client has left its slot after *service_s* seconds."""
        client = self._clients[client_id]
        client.num_running -= 1
        client.used_s += max(MIN_SERVICE_S, service_s) - charged_s
        if client.waiting:
            self._set_turn(client_id, client)
        self._forget_idle(client_id, client)

    def remove(self, request: Request) -> None:
        """Take out a request that waits."""
        client = self._clients[request.client]
        del client.waiting[request.id]
        client.num_bytes -= request.num_bytes
        self._num_waiting -= 1
        self._forget_idle(request.client, client)

    def shares(self) -> Iterator[tuple[ClientId, int, int]]:
        """Each client with the number of its requests that wait, and their bytes."""
        for client_id, client in self._clients.items():
            yield client_id, len(client.waiting), client.num_bytes

    def waiting_of(self, client_id: ClientId) -> tuple[Request, ...]:
        """What waits of a client, in order of arrival."""
        client = self._clients.get(client_id)
        return tuple(client.waiting.values()) if client else ()

    def order(self, expected_s: float) -> Iterator[Request]:
        """Those that wait as they will go if nobody else comes and each takes *expected_s* seconds."""
        step_s = max(MIN_SERVICE_S, expected_s)
        turns = [
            (client.used_s, requests[0].number, 0, requests)
            for client in self._clients.values()
            if (requests := list(client.waiting.values()))
        ]
        heapq.heapify(turns)
        while turns:
            used_s, _, place, requests = turns[0]
            yield requests[place]
            if place + 1 < len(requests):
                number = requests[place + 1].number
                heapq.heapreplace(turns, (used_s + step_s, number, place + 1, requests))
            else:
                heapq.heappop(turns)

    def _client(self, client_id: ClientId) -> _Client:
        client = self._clients.get(client_id)
        if client is None:
            used_s = max(self._clock_s, self._remembered.pop(client_id, 0.0))
            client = self._clients[client_id] = _Client(used_s)
        return client

    def _charge(self, client: _Client, expected_s: float) -> float:
        """A request of *client* gets a slot."""
        self._clock_s = max(self._clock_s, client.used_s)
        charged_s = max(MIN_SERVICE_S, expected_s)
        client.num_running += 1
        client.used_s += charged_s
        return charged_s

    def _set_turn(self, client_id: ClientId, client: _Client) -> None:
        first = next(iter(client.waiting.values()))
        heapq.heappush(self._turns, (client.used_s, first.number, client_id))
        if len(self._turns) > 2 * len(self._clients) + MAX_STALE:
            self._turns = [
                (client.used_s, next(iter(client.waiting.values())).number, client_id)
                for client_id, client in self._clients.items()
                if client.waiting
            ]
            heapq.heapify(self._turns)

    def _forget_idle(self, client_id: ClientId, client: _Client) -> None:
        if client.waiting or client.num_running:
            return
        del self._clients[client_id]
        if not self._clients:
            # Nobody is behind or ahead of anybody any more.
            self._clock_s = 0.0
            self._remembered.clear()
            self._turns.clear()
        elif client.used_s > self._clock_s:
            self._remembered[client_id] = client.used_s
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
