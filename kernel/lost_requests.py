"""Requests that a worker has lost while it goes on with others: each ping asks for them."""

from __future__ import annotations

from itertools import islice

from kernel.actions import Emit, Log
from kernel.dispatch import Dispatcher
from kernel.running import Route
from kernel.supervisor import Process
from transports.errors import WorkerError
from transports.messages import MAX_IDS_ASKED, Ping, Pong
from transports.settings import KernelSettings


class LostRequests:
    """Asks workers for the requests that they should have, and ends those that they do not."""

    def __init__(self, settings: KernelSettings, dispatcher: Dispatcher, emit: Emit) -> None:
        # Two pongs at once come from a worker that stood still: they are one look at it.
        self._apart_s = settings.heartbeat_s / 2
        self._dispatcher = dispatcher
        self._emit = emit

    def question(self, worker: Process) -> Ping:
        """A ping that asks for the oldest requests inside *worker*."""
        routes = islice(self._dispatcher.routes(worker.name), MAX_IDS_ASKED)
        return Ping(running=tuple(route.id for route in routes))

    def answered(self, worker: Process, pong: Pong, now: float) -> None:
        """End what *worker* does not know for the second time; once may be an end that is on its way."""
        unknown, lost = set(pong.unknown), list[Route]()
        for route in self._dispatcher.routes(worker.name):
            if route.id not in unknown:
                route.missed_s = None
            elif route.missed_s is None:
                route.missed_s = now
            elif now - route.missed_s >= self._apart_s:
                lost.append(route)
        if not lost:
            return
        for route in lost:
            fields = {"model": route.model, "request_id": route.id}
            self._emit(Log("warning", "request_forgotten", fields))
        error = WorkerError(f"{worker.model}: its worker goes on, but has lost this request; ask again")
        self._dispatcher.fail_running(lost, error, now)
        self._dispatcher.dispatch(worker.model, now)
