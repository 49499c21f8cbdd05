"""Requests inside the kernel: from submit through a queue and a worker to their one end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from kernel.actions import Emit, Send
from kernel.residency import Residency
from kernel.scheduler import Request, Scheduler
from kernel.supervisor import Process
from transports.errors import MlxdError, QueueTimeout, RemoteProtocolError, RequestError
from transports.frames import Parcel, parcel
from transports.messages import Cancel, Done, Events, Progress, Usage
from transports.reports import ModelInfo
from transports.settings import KernelSettings

# Named in one message: so many ids of 64 characters, twice, stay within an envelope.
MAX_IDS_TOLD = 256


@dataclass(slots=True)
class Route:
    """A request inside a worker."""

    id: str
    peer: str
    model: str
    # The supervisor's name of the worker.
    worker: str
    started_s: float


class Dispatcher:
    """Queued and running requests. Each ends once: by its worker, by cancel, or by `_tell_failed`."""

    def __init__(self, settings: KernelSettings, residency: Residency, emit: Emit) -> None:
        self._settings = settings
        self._residency = residency
        self._emit = emit
        self._queue = Scheduler(settings)
        self._routes: dict[str, Route] = {}
        self._num_running: dict[str, int] = defaultdict(int)
        self._num_of_peer: dict[str, int] = defaultdict(int)

    def __len__(self) -> int:
        """Requests that have not ended."""
        return len(self._queue) + len(self._routes)

    @property
    def num_queued(self) -> int:
        """Requests that wait for a worker."""
        return len(self._queue)

    def num_of_peer(self, peer: str) -> int:
        """Requests of a frontend that have not ended."""
        return self._num_of_peer.get(peer, 0)

    def num_queued_for(self, model: str) -> int:
        """Requests that wait for *model*."""
        return len(self._queue.waiting(model))

    def num_running_in(self, model: str) -> int:
        """Requests inside the worker of *model*."""
        return self._num_running.get(model, 0)

    def is_busy(self, model: str) -> bool:
        """Whether anybody waits for *model* or is served by it."""
        return bool(self.num_queued_for(model) or self.num_running_in(model))

    def models_waited_for(self) -> tuple[str, ...]:
        """Models with a queue."""
        return self._queue.models()

    # --- in -----------------------------------------------------------------------------------

    def submit(self, peer: str, message: Parcel, model: ModelInfo, now: float) -> None:
        """Accept a request for a model of the catalog, or refuse it.

        Raises:
            MlxdError: Refused; nothing was kept.
        """
        envelope = message.envelope
        request_id = envelope.ids[0]
        if request_id in self._queue or request_id in self._routes:
            raise RemoteProtocolError(f"submit: request {request_id} is running already")
        if self.num_of_peer(peer) >= self._settings.max_requests_per_peer:
            raise RequestError(
                f"submit: this frontend has {self.num_of_peer(peer)} requests open, the most that "
                "kernel.max_requests_per_peer allows"
            )
        if error := self._residency.unavailable(model.name, now):
            raise error
        is_ready = self._residency.worker(model.name) is not None
        deadline_s = now + self._settings.max_queued_s if is_ready else None
        if envelope.timeout_s:
            deadline_s = now + envelope.timeout_s
        self._queue.add(Request(request_id, peer, model.name, envelope.priority, message, now, deadline_s))
        self._num_of_peer[peer] += 1
        self._residency.want(model, now)
        self.dispatch(model.name, now)
        if request_id in self._queue:
            self._tell_why_it_waits(request_id, peer, model.name)

    def cancel(self, peer: str, ids: Iterable[str]) -> None:
        """A frontend wants these of its requests no more; ids of others are ignored."""
        by_model: dict[str, list[str]] = defaultdict(list)
        for request_id in ids:
            if (route := self._routes.get(request_id)) and route.peer == peer:
                by_model[route.model].append(request_id)
            elif (request := self._queue.get(request_id)) and request.peer == peer:
                self._queue.remove(request_id)
                self._forget(peer)
                self.tell_cancelled(peer, request_id)
        for model, cancelled in by_model.items():
            if worker := self._residency.worker(model):
                process, _ = worker
                for some in _batches(cancelled):
                    self._emit(Send(process.peer, parcel("cancel", Cancel(), ids=some)))

    def tell_cancelled(self, peer: str, request_id: str) -> None:
        """End a request that no worker has seen."""
        usage = Usage(prompt_tokens=0, completion_tokens=0)
        events = Events(items=(Done(id=request_id, finish_reason="cancelled", usage=usage),))
        self._emit(Send(peer, parcel("events", events, ids=(request_id,), finished=(request_id,))))

    def peer_lost(self, peer: str) -> None:
        """A frontend is gone: nobody wants the answers to its requests."""
        for request in self._queue.select(lambda r: r.peer == peer):
            self._queue.remove(request.id)
            self._forget(peer)
        self.cancel(peer, [route.id for route in self._routes.values() if route.peer == peer])

    # --- to and from workers --------------------------------------------------------------------

    def dispatch(self, model: str, now: float) -> None:
        """Give waiting requests to the worker's free slots."""
        worker = self._residency.worker(model)
        if worker is None:
            return
        process, info = worker
        while self._num_running[model] < info.num_slots and (request := self._queue.take(model)):
            self._routes[request.id] = Route(request.id, request.peer, model, process.name, now)
            self._num_running[model] += 1
            envelope = msgspec.structs.replace(request.message.envelope, peer=request.peer)
            self._emit(Send(process.peer, Parcel(envelope, request.message.frames)))

    def model_ready(self, model: str, now: float) -> None:
        """The worker answers requests from now on."""
        self._queue.model_ready(model, now)
        self.dispatch(model, now)

    def worker_spoke(self, worker: Process, message: Parcel, now: float) -> None:
        """Pass a worker's events or failure on to their frontend.

        Raises:
            RemoteProtocolError: The worker spoke of a request that it does not have, or of none; nothing
                was passed on.
        """
        envelope = message.envelope
        for request_id in envelope.ids:
            route = self._routes.get(request_id)
            if route is None or route.worker != worker.name or route.peer != envelope.peer:
                raise RemoteProtocolError(f"{envelope.type}: request {request_id} is not this worker's")
        finished = set(envelope.finished)
        if not finished <= set(envelope.ids):
            raise RemoteProtocolError(f"{envelope.type}: finished holds requests that ids does not")
        if not envelope.ids:
            raise RemoteProtocolError(f"{envelope.type}: expected the requests that it is about")
        if envelope.type == "failed" and len(finished) != len(set(envelope.ids)):
            raise RemoteProtocolError("failed: expected all of ids in finished")
        if len(finished) != len(envelope.finished):
            raise RemoteProtocolError(f"{envelope.type}: finished names a request twice")
        self._emit(Send(envelope.peer, message))
        for request_id in envelope.finished:
            route = self._routes[request_id]
            self._queue.served(route.model, now - route.started_s)
            self._end(route)
        if envelope.finished:
            self.dispatch(worker.model, now)

    def worker_lost(self, worker: str, error: MlxdError) -> None:
        """A worker is gone: what it had ends in *error*; what waits goes on waiting."""
        lost = [route for route in self._routes.values() if route.worker == worker]
        for route in lost:
            self._end(route)
        self._tell_failed([(route.peer, route.id) for route in lost], error)

    # --- ends -----------------------------------------------------------------------------------

    def fail_waiting(self, model: str, error: MlxdError) -> None:
        """End everything that waits for *model*."""
        self._fail_queued(self._queue.waiting(model), error)

    def fail_all(self, error: MlxdError) -> None:
        """End everything; workers are told to stop what they do."""
        self._fail_queued(self._queue.select(lambda _: True), error)
        routes = list(self._routes.values())
        for route in routes:
            self._end(route)
        self._tell_failed([(route.peer, route.id) for route in routes], error)

    def expire(self, now: float) -> None:
        """End requests that have waited for too long."""
        for request in (*self._queue.expired(now), *self._without_place(now)):
            waited_s = now - request.arrived_s
            self._fail_queued(
                (request,),
                QueueTimeout(
                    f"{request.model}: waited {waited_s:.0f} s for a free slot, longer than allowed; "
                    "try again later",
                    retry_after_s=self._queue.retry_after_s(request.model),
                ),
            )

    def _without_place(self, now: float) -> tuple[Request, ...]:
        """Those whose model found no place in memory in all the time that they may wait."""

        def is_late(request: Request) -> bool:
            resident = self._residency.get(request.model)
            has_no_place = resident is None or resident.phase == "waiting"
            return has_no_place and now - request.arrived_s >= self._settings.max_queued_s

        return self._queue.select(lambda r: r.deadline_s is None and is_late(r))

    def next_deadline(self) -> float | None:
        """When `expire` has something to do; for a place in memory it looks at each heartbeat."""
        return self._queue.next_deadline()

    def tell_progress(self, model: str, progress: Progress) -> None:
        """Tell everybody who waits for *model* how far it is."""
        by_peer: dict[str, list[str]] = defaultdict(list)
        for request in self._queue.waiting(model):
            by_peer[request.peer].append(request.id)
        for peer, ids in by_peer.items():
            for some in _batches(ids):
                self._emit(Send(peer, parcel("progress", progress, ids=some)))

    def check(self) -> None:
        """Raise AssertionError if a request could be lost, doubled or left waiting beside a free slot."""
        counts: dict[str, int] = defaultdict(int)
        peers: dict[str, int] = defaultdict(int)
        for route in self._routes.values():
            _ensure(route.id not in self._queue, "a request is queued and running")
            counts[route.model] += 1
            peers[route.peer] += 1
        for request in self._queue.select(lambda _: True):
            peers[request.peer] += 1
        _ensure(counts == {m: n for m, n in self._num_running.items() if n}, "running requests miscounted")
        _ensure(peers == {p: n for p, n in self._num_of_peer.items() if n}, "a peer's requests miscounted")
        for model in self._queue.models():
            worker = self._residency.worker(model)
            if worker:
                _ensure(counts[model] >= worker[1].num_slots, "a request waits while a slot is free")

    def _tell_why_it_waits(self, request_id: str, peer: str, model: str) -> None:
        resident = self._residency.get(model)
        is_ready = self._residency.worker(model) is not None
        progress = Progress(phase="queued") if is_ready or resident is None else resident.progress
        self._emit(Send(peer, parcel("progress", progress, ids=(request_id,))))

    def _fail_queued(self, requests: Iterable[Request], error: MlxdError) -> None:
        ended = [(request.peer, request.id) for request in requests]
        for peer, request_id in ended:
            self._queue.remove(request_id)
            self._forget(peer)
        self._tell_failed(ended, error)

    def _tell_failed(self, ended: Iterable[tuple[str, str]], error: MlxdError) -> None:
        by_peer: dict[str, list[str]] = defaultdict(list)
        for peer, request_id in ended:
            by_peer[peer].append(request_id)
        for peer, ids in by_peer.items():
            for some in _batches(ids):
                self._emit(Send(peer, parcel("failed", error.to_failed(), ids=some, finished=some)))

    def _end(self, route: Route) -> None:
        del self._routes[route.id]
        self._num_running[route.model] -= 1
        self._forget(route.peer)

    def _forget(self, peer: str) -> None:
        self._num_of_peer[peer] -= 1
        if not self._num_of_peer[peer]:
            del self._num_of_peer[peer]


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), MAX_IDS_TOLD):
        yield ids[start : start + MAX_IDS_TOLD]


def _ensure(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)
