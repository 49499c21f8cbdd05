"""Requests inside the kernel: from submit through a queue and a worker to their one end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from kernel.actions import Emit, Send
from kernel.model_queue import Waits
from kernel.notices import MAX_IDS_TOLD, Notices
from kernel.quarantine import Quarantine
from kernel.ratelimit import RateLimiter
from kernel.request import Request
from kernel.residency import Residency
from kernel.running import Route, Running
from kernel.scheduler import Scheduler
from kernel.supervisor import Process
from transports.errors import MlxdError, QueueFull, QueueTimeout, RemoteProtocolError
from transports.frames import Parcel, parcel
from transports.messages import Cancel, Progress
from transports.reports import ModelInfo
from transports.settings import KernelSettings


class Dispatcher:
    """Queued and running requests. Each ends once: by its worker, by cancel, or by a notice of failure."""

    def __init__(self, settings: KernelSettings, residency: Residency, emit: Emit) -> None:
        self._settings = settings
        self._residency = residency
        self._emit = emit
        self._notices = Notices(emit)
        self._queue = Scheduler(settings)
        self._running = Running()
        self._quarantine = Quarantine(settings.quarantine_s)
        self._limiter = RateLimiter(settings.max_requests_per_client_per_minute)
        # Of each model's worker, the last that it had.
        self._num_slots: dict[str, int] = {}
        self._num_accepted = 0
        # When those who wait were told where they stand.
        self._told_s = 0.0
        self._num_of_peer: dict[str, int] = defaultdict(int)

    def __len__(self) -> int:
        """Requests that have not ended."""
        return len(self._queue) + len(self._running)

    @property
    def num_queued(self) -> int:
        """Requests that wait for a worker."""
        return len(self._queue)

    def num_of_peer(self, peer: str) -> int:
        """Requests of a frontend that have not ended."""
        return self._num_of_peer.get(peer, 0)

    def num_queued_for(self, model: str) -> int:
        """Requests that wait for *model*."""
        return self._queue.num_waiting(model)

    def num_running_in(self, model: str) -> int:
        """Requests inside the worker of *model*."""
        return self._running.num_in(model)

    def routes(self, worker: str) -> Iterator[Route]:
        """Requests inside a worker, the oldest first."""
        return (route for route in self._running if route.worker == worker)

    def is_busy(self, model: str) -> bool:
        """Whether anybody waits for *model* or is served by it."""
        return bool(self.num_queued_for(model) or self.num_running_in(model))

    def order(self, model: str) -> Iterator[Request]:
        """Requests that wait for *model*, as they will go if nobody else comes."""
        return self._queue.order(model)

    def waits(self, model: str, now: float) -> Waits:
        """How long requests wait for *model*."""
        return self._queue.waits(model, now)

    def models_waited_for(self) -> tuple[str, ...]:
        """Models with a queue."""
        return self._queue.models()

    # --- in -----------------------------------------------------------------------------------

    def submit(self, peer: str, message: Parcel, model: ModelInfo, now: float) -> None:
        """Accept a request for a model of the catalog, or refuse it.

        Raises:
            MlxdError: Refused; nothing was kept.
        """
        request = self._request(peer, message, model.name, now)
        if error := self._residency.unavailable(model.name, now):
            raise error
        if error := self._quarantine.verdict(request.fingerprint, now):
            raise error
        worker = self._residency.worker(model.name)
        if worker and self._may_start_at_once(request, worker[1].num_slots):
            self._num_of_peer[peer] += 1
            self._residency.want(model, now, message.envelope.keep_alive_s)
            self._send(request, worker[0], self._queue.start_at_once(request), is_suspect=False, now=now)
            return
        deadline_s = now + self._settings.max_queued_s if worker else None
        if message.envelope.timeout_s:
            deadline_s = now + message.envelope.timeout_s
        given = self._queue.add(request, deadline_s, self._slots(model.name))
        self._num_of_peer[peer] += 1
        if given:
            self._end_waiting(given, self._given_way(model.name))
        self._residency.want(model, now, message.envelope.keep_alive_s)
        self.dispatch(model.name, now)
        if request.id in self._queue:
            self._tell_why_it_waits(request)

    def _may_start_at_once(self, request: Request, num_slots: int) -> bool:
        """Whether it need not go through the queue; a suspect must, to wait until it is alone."""
        return (
            self._running.has_slot(request.model, num_slots)
            and not self._queue.num_waiting(request.model)
            and not self._quarantine.has_struck(request.fingerprint)
        )

    def _given_way(self, model: str) -> QueueFull:
        return QueueFull(
            f"{model}: the queue is full, and most of it was this client's: this request gave its place to "
            "another client; try again later",
            retry_after_s=self._queue.retry_after_s(model, self._slots(model)),
        )

    def _request(self, peer: str, message: Parcel, model: str, now: float) -> Request:
        request_id = message.envelope.ids[0]
        if request_id in self._queue or request_id in self._running:
            raise RemoteProtocolError(f"submit: request {request_id} is running already")
        if self.num_of_peer(peer) >= self._settings.max_requests_per_peer:
            raise QueueFull(
                f"{self.num_of_peer(peer)} requests of this frontend are open, the most that "
                "kernel.max_requests_per_peer allows; try again later",
                retry_after_s=self._queue.retry_after_s(model, self._slots(model)),
            )
        self._num_accepted += 1
        request = Request(request_id, peer, model, message, now, number=self._num_accepted)
        self._limiter.check(request.client, now)
        return request

    def cancel(self, peer: str, ids: Iterable[str], now: float) -> bool:
        """A frontend wants these of its requests no more; whether any was open, and wanted until now."""
        by_model: dict[str, list[str]] = defaultdict(list)
        left: set[str] = set()
        for request_id in ids:
            if (route := self._running.get(request_id)) and route.peer == peer and not route.is_cancelled:
                route.is_cancelled = True
                by_model[route.model].append(request_id)
            elif (request := self._queue.get(request_id)) and request.peer == peer:
                self._queue.remove(request_id)
                self._forget(peer)
                left.add(request.model)
                self._notices.cancelled(peer, request_id)
        for model, cancelled in by_model.items():
            if worker := self._residency.worker(model):
                for start in range(0, len(cancelled), MAX_IDS_TOLD):
                    told = parcel("cancel", Cancel(), ids=cancelled[start : start + MAX_IDS_TOLD])
                    self._emit(Send(worker[0].peer, told))
        self._dispatch_after(left, now)
        return bool(by_model or left)

    def tell_cancelled(self, peer: str, request_id: str) -> None:
        """End a request that was not submitted yet."""
        self._notices.cancelled(peer, request_id)

    def peer_lost(self, peer: str, now: float) -> None:
        """A frontend is gone: nobody wants the answers to its requests."""
        queued = self._queue.select(lambda r: r.peer == peer)
        for request in queued:
            self._queue.remove(request.id)
            self._forget(peer)
        self.cancel(peer, [route.id for route in self._running if route.peer == peer], now)
        self._dispatch_after({request.model for request in queued}, now)

    # --- to and from workers --------------------------------------------------------------------

    def dispatch(self, model: str, now: float) -> None:
        """Give waiting requests to the worker's free slots."""
        worker = self._residency.worker(model)
        if worker is None:
            return
        process, info = worker
        while self._running.has_slot(model, info.num_slots) and (request := self._queue.next(model)):
            if error := self._quarantine.verdict(request.fingerprint, now):
                self._fail_queued((request,), error)
                continue
            is_suspect = self._quarantine.is_suspect(request.fingerprint, now)
            if is_suspect and self._running.num_in(model):
                # It runs alone; until the others have ended nobody goes before it.
                return
            self._send(request, process, self._queue.start(request, now), is_suspect=is_suspect, now=now)

    def _dispatch_after(self, models: Iterable[str], now: float) -> None:
        """Requests left the queues of *models*: one may have been a suspect that kept others waiting."""
        for model in models:
            self.dispatch(model, now)

    def _send(
        self, request: Request, process: Process, charged_s: float, *, is_suspect: bool, now: float
    ) -> None:
        envelope = msgspec.structs.replace(request.message.envelope, peer=request.peer)
        self._running.add(
            Route(
                id=request.id,
                peer=request.peer,
                model=request.model,
                worker=process.name,
                started_s=now,
                client=request.client,
                priority=request.priority,
                fingerprint=request.fingerprint,
                charged_s=charged_s,
                is_alone=is_suspect,
            )
        )
        self._emit(Send(process.peer, Parcel(envelope, request.message.frames)))

    def model_ready(self, model: str, now: float) -> None:
        """The worker answers requests from now on."""
        if worker := self._residency.worker(model):
            self._num_slots[model] = worker[1].num_slots
        self._queue.model_ready(model, now)
        self.dispatch(model, now)

    def worker_spoke(self, worker: Process, message: Parcel, now: float) -> None:
        """Pass a worker's events or failure on to their frontend.

        Raises:
            RemoteProtocolError: It spoke of a request that it does not have, or of none; nobody was told.
        """
        envelope = message.envelope
        for request_id in envelope.ids:
            route = self._running.get(request_id)
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
            if route := self._running.get(request_id):
                self._end(route, now)
                if route.is_alone and not route.is_cancelled:
                    self._quarantine.clear(route.fingerprint)
        if envelope.finished:
            self.dispatch(worker.model, now)

    def worker_lost(self, worker: str, error: MlxdError, now: float, *, was_wished: bool) -> None:
        """A worker is gone: what it had ends in *error*; what waits goes on waiting.

        Args:
            worker: The supervisor's name of it.
            error: What its requests are told.
            now: Monotonic seconds.
            was_wished: Nobody had asked it to end: it crashed or hung, perhaps because of a request.
        """
        lost = list(self.routes(worker))
        if was_wished:
            self._quarantine.strike((route.fingerprint for route in lost), now)
        self.fail_running(lost, error, now)

    # --- ends -----------------------------------------------------------------------------------

    def fail_waiting(self, model: str, error: MlxdError) -> None:
        """End everything that waits for *model*."""
        self._fail_queued(self._queue.waiting(model), error)

    def fail_all(self, error: MlxdError, now: float) -> None:
        """End everything; workers are told to stop what they do."""
        self._fail_queued(self._queue.select(lambda _: True), error)
        self.fail_running(list(self._running), error, now)

    def fail_running(self, routes: Iterable[Route], error: MlxdError, now: float) -> None:
        """End requests inside workers; these are not told."""
        for route in routes:
            self._end(route, now)
        self._notices.failed(((route.peer, route.id) for route in routes), error)

    def tick(self, now: float) -> None:
        """End requests that have waited for too long; at each heartbeat tell the others where they stand."""
        expired = self._queue.pop_expired(now)
        for request in expired:
            self._end_waiting((request,), self._timeout(request, now))
        for request in self._without_place(now):
            self._fail_queued((request,), self._timeout(request, now))
        self._dispatch_after({request.model for request in expired}, now)
        if now - self._told_s >= self._settings.heartbeat_s:
            self._told_s = now
            for model in self._queue.models():
                if self._residency.worker(model):
                    self._notices.positions(self._queue.order(model))

    def _timeout(self, request: Request, now: float) -> QueueTimeout:
        is_ready = self._residency.worker(request.model) is not None
        awaited = "a free slot" if is_ready else "its model to be loaded"
        return QueueTimeout(
            f"{request.model}: waited {round(now - request.arrived_s, 1):g} s for {awaited}, "
            "longer than allowed; try again later",
            retry_after_s=self._queue.retry_after_s(request.model, self._slots(request.model)),
        )

    def _without_place(self, now: float) -> list[Request]:
        """Those whose model found no place in memory in all the time that they may wait."""
        late: list[Request] = []
        for model in self._queue.models():
            resident = self._residency.get(model)
            if resident is None or resident.phase == "waiting":
                late += [
                    request
                    for request in self._queue.waiting(model)
                    if not self._queue.has_deadline(request.id)
                    and now - request.arrived_s >= self._settings.max_queued_s
                ]
        return late

    def next_deadline(self) -> float | None:
        """When a request has waited for too long; the rest of `tick` is done at each heartbeat."""
        return self._queue.next_deadline()

    def tell_progress(self, model: str, progress: Progress) -> None:
        """Tell everybody who waits for *model* how far it is."""
        self._notices.progress(self._queue.waiting(model), progress)

    def check(self) -> None:
        """Raise AssertionError if a request could be lost, doubled or left waiting beside a free slot."""
        counts: dict[str, int] = defaultdict(int)
        peers: dict[str, int] = defaultdict(int)
        alone: set[str] = set()
        for route in self._running:
            _ensure(route.id not in self._queue, "a request is queued and running")
            counts[route.model] += 1
            peers[route.peer] += 1
            if route.is_alone:
                alone.add(route.model)
        for request in self._queue.select(lambda _: True):
            peers[request.peer] += 1
        for model, num_running in counts.items():
            _ensure(num_running == self._running.num_in(model), "running requests miscounted")
            _ensure(num_running == 1 or model not in alone, "a suspect does not run alone")
        _ensure(peers == {p: n for p, n in self._num_of_peer.items() if n}, "a peer's requests miscounted")
        self._queue.check()
        for model in self._queue.models():
            worker, first = self._residency.worker(model), self._queue.next(model)
            if worker and counts[model] < worker[1].num_slots:
                is_suspect = first is not None and self._quarantine.has_struck(first.fingerprint)
                _ensure(counts[model] > 0, "a request waits while its worker is idle")
                _ensure(is_suspect or model in alone, "a request waits while a slot is free")

    def _tell_why_it_waits(self, request: Request) -> None:
        resident = self._residency.get(request.model)
        is_ready = self._residency.worker(request.model) is not None
        progress = Progress(phase="queued") if is_ready or resident is None else resident.progress
        self._notices.progress((request,), progress)

    def _slots(self, model: str) -> int:
        """How many requests the worker of *model* takes at once, as far as that is known."""
        return self._num_slots.get(model, 1)

    def _fail_queued(self, requests: Iterable[Request], error: MlxdError) -> None:
        requests = tuple(requests)
        for request in requests:
            self._queue.remove(request.id)
        self._end_waiting(requests, error)

    def _end_waiting(self, requests: Iterable[Request], error: MlxdError) -> None:
        """The bad end of requests that are not queued any more."""
        ended = [(request.peer, request.id) for request in requests]
        for peer, _ in ended:
            self._forget(peer)
        self._notices.failed(ended, error)

    def _end(self, route: Route, now: float) -> None:
        self._running.remove(route)
        service_s = now - route.started_s
        self._queue.end(route.model, route.client, route.priority, route.charged_s, service_s)
        self._residency.used(route.model, now)
        self._forget(route.peer)

    def _forget(self, peer: str) -> None:
        self._num_of_peer[peer] -= 1
        if not self._num_of_peer[peer]:
            del self._num_of_peer[peer]


def _ensure(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)
