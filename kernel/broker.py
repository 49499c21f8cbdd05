"""The kernel as one state machine: events in, actions out. Pure: no clock, no socket, no process.

This is the place to start reading: every event arrives in `handle` and is given to the part that knows.
"""

from __future__ import annotations

from random import Random

from kernel.actions import Action, ScanCatalog
from kernel.admin import Administrator
from kernel.dispatch import Dispatcher
from kernel.events import (
    CatalogScanned,
    Event,
    JobEnded,
    JobProgressed,
    MalformedReceived,
    Measured,
    MessageReceived,
    PeerUnreachable,
    Prepared,
    PrepareFailed,
    PrepareProgressed,
    ProcessExited,
    ProcessStarted,
    StopRequested,
    TimePassed,
)
from kernel.heartbeat import Heartbeat
from kernel.lifecycle import Lifecycle
from kernel.lost_requests import LostRequests
from kernel.memory import MemoryPlans
from kernel.memory_watch import MemoryWatch
from kernel.offences import Offences
from kernel.peers import SAID_BYE, Peer, Peers, check_allowed, farewell
from kernel.placement import Placement
from kernel.questions import Question, Questions
from kernel.residency import Residency
from kernel.retention import Retention
from kernel.roster import Roster
from kernel.shutdown import Shutdown
from kernel.supervisor import Process, Supervisor
from kernel.view import KernelView, StatusView
from transports.codec import decode_body
from transports.errors import MlxdError, RemoteProtocolError, ShuttingDown
from transports.frames import Parcel
from transports.loading import Ready
from transports.messages import Failed, Hello, Pong, Progress
from transports.reports import DoneReply
from transports.settings import Settings

# A deadline that is a rounding error ahead would be waited for again and again.
ROUNDING_S = 1e-6


class Broker:
    """The kernel's whole state. `handle` is its only entrance."""

    def __init__(
        self,
        settings: Settings,
        view: KernelView,
        client_token: str,
        random: Random,
        preload: tuple[str, ...] = (),
    ) -> None:
        """A kernel that has not started anything.

        Args:
            settings: All settings.
            view: What status tells of the kernel that never changes.
            client_token: What frontends say in hello that the kernel did not start.
            random: For jitter.
            preload: Models to load at the start, and to keep; the kernel is not ready without them.
        """
        preload = tuple(settings.models.aliases.get(name, name) for name in preload)
        self._settings = settings
        self._view = view
        self._out: list[Action] = []
        self._supervisor = Supervisor(settings.kernel, self._out.append, random)
        self._peers = Peers(settings.kernel, view.version, view.shared_dir, client_token, self._supervisor)
        self._offences = Offences(
            settings.kernel, self._peers, self._supervisor, self._peer_lost, self._out.append
        )
        self._retention = Retention(settings.kernel, settings.models.options, preload)
        self._roster = Roster(settings.kernel, settings.models, self._out.append)
        plans = MemoryPlans(view.memory_budget_bytes, view.kinds, settings.models.options)
        self._watch = MemoryWatch(settings.kernel, view.kinds, self._supervisor, self._out.append)
        self._residency = Residency(
            settings.kernel, self._retention, self._supervisor, self._out.append, self._is_busy
        )
        self._placement = Placement(
            settings.kernel,
            self._residency,
            self._retention,
            self._roster,
            plans,
            self._watch,
            self._supervisor,
        )
        self._dispatcher = Dispatcher(settings.kernel, self._residency, self._out.append)
        self._questions = Questions(settings.kernel, self._out.append)
        self._lifecycle = Lifecycle(
            settings.models.options,
            self._roster,
            self._supervisor,
            self._residency,
            self._placement,
            self._dispatcher,
            self._questions,
            self._out.append,
        )
        self._admin = Administrator(
            settings.models.options,
            self._questions,
            self._roster,
            self._residency,
            self._placement,
            self._retention,
            self._watch,
            self._dispatcher,
            self._supervisor,
            self._peers,
        )
        self._shutdown = Shutdown(
            settings.kernel,
            self._supervisor,
            self._peers,
            self._residency,
            self._roster,
            self._dispatcher,
            lambda parked, error, now: self._offences.refuse(parked.peer, parked.message, error, now),
            self._out.append,
        )
        self._preload = preload
        self._status = StatusView(
            view,
            preload,
            self._roster,
            self._supervisor,
            self._residency,
            self._placement,
            self._watch,
            self._dispatcher,
            self._peers,
            self._offences,
        )
        self._lost_requests = LostRequests(settings.kernel, self._dispatcher, self._out.append)
        self._heartbeat = Heartbeat(settings.kernel, self._peers, self._lost_requests, self._out.append)

    def start(self, now: float) -> list[Action]:
        """Start the frontends and load what must be there from the start."""
        self._heartbeat.start(now)
        for kind in self._settings.kernel.frontends:
            self._supervisor.start(f"frontend:{kind}", "frontend", kind, "", now)
        self._out.append(ScanCatalog())
        return self._taken()

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take in one event.

        Args:
            event: What happened.
            now: Monotonic seconds; never less than at the last call.

        Returns:
            What to do, in order.
        """
        now = self._heartbeat.awake(now)
        match event:
            case MessageReceived(peer, message):
                self._received(event, peer, message, now)
            case MalformedReceived():
                self._offences.malformed(event, now)
            case PeerUnreachable(peer, reason):
                self._peer_lost(peer, reason, now)
            case ProcessStarted(name, pid):
                self._supervisor.spawned(name, pid)
            case ProcessExited():
                self._process_exited(event, now)
            case CatalogScanned():
                self._scanned(event, now)
            case Prepared():
                self._residency.prepared(event, now)
            # One that was unloaded meanwhile may be loaded by another preparation already.
            case PrepareFailed(model, error) if self._residency.is_preparing(model):
                self._lifecycle.load_failed(model, error.to_failed(), now)
            case PrepareProgressed(model, progress):
                self._lifecycle.progressed(model, progress)
            case JobProgressed(job, progress):
                self._questions.job_progressed(job, progress)
            case JobEnded(job, result):
                self._questions.job_ended(job, result)
            case Measured():
                self._measured(event, now)
            case StopRequested(at_once):
                self._shutdown.stop(now, at_once=at_once)
            case TimePassed():
                self._time_passed(now)
        self._settle(now)
        return self._taken()

    def next_deadline(self) -> float:
        """When TimePassed is due; monotonic seconds."""
        deadlines = (
            self._heartbeat.next_deadline(),
            self._supervisor.next_deadline(),
            self._dispatcher.next_deadline(),
            self._residency.next_deadline(),
            self._roster.next_deadline(),
            self._watch.next_deadline(),
            self._shutdown.next_deadline(),
        )
        next_s = min(deadline for deadline in deadlines if deadline is not None)
        return self._heartbeat.on_the_clock(next_s) + ROUNDING_S

    def check(self) -> None:
        """Raise AssertionError if an invariant is broken; for tests."""
        self._lifecycle.check()

    # --- messages -------------------------------------------------------------------------------

    def _received(self, event: MessageReceived, peer_id: str, message: Parcel, now: float) -> None:
        if self._offences.is_too_much(event, now):
            return
        envelope = message.envelope
        peer = self._peers.get(peer_id)
        try:
            if envelope.type == "hello":
                self._hello(peer_id, message, now)
                return
            if peer is None:
                raise RemoteProtocolError(f"{envelope.type}: say hello first")
            if error := check_allowed(peer.role, envelope.type):
                raise error
            peer.heard_s = now
            if peer.process:
                self._supervisor.heard(peer.process, now)
                if peer.role == "worker":
                    self._from_worker(peer, peer.process, message, now)
                    return
            self._from_frontend(event, peer, message, now)
        except MlxdError as e:
            self._offences.refuse(peer_id, message, e, now)

    def _hello(self, peer_id: str, message: Parcel, now: float) -> None:
        hello = decode_body(message.body, Hello)
        if peer_id in self._peers:
            if self._offences.useless(peer_id, now):
                return
            self._peer_lost(peer_id, "said hello again", now)
        peer = self._peers.admit(peer_id, hello, now)
        self._out += self._peers.welcome(peer)
        if self._shutdown.state != "running" and peer.role == "frontend":
            self._shutdown.tell(peer_id)
        if peer.process and peer.role == "worker":
            self._lifecycle.connected(peer.process)

    def _from_worker(self, peer: Peer, worker: Process, message: Parcel, now: float) -> None:
        if worker.fault:
            return  # It is being ended, and what it says now may lack what went before.
        match message.envelope.type:
            case "events":
                self._dispatcher.worker_spoke(worker, message, now)
            case "failed" if message.envelope.ids:
                self._dispatcher.worker_spoke(worker, message, now)
            case "failed":
                self._lifecycle.load_failed(worker.model, decode_body(message.body, Failed), now)
            case "pong":
                pong = decode_body(message.body, Pong)
                self._lost_requests.answered(worker, pong, now)
                oldest = next(self._dispatcher.routes(worker.name), None)
                self._supervisor.progressed(worker, pong, oldest.started_s if oldest else None, now)
            case "progress":
                worker.progress_s = now
                self._lifecycle.progressed(worker.model, decode_body(message.body, Progress))
            case "ready" if worker.state == "loading":
                self._lifecycle.ready(worker, decode_body(message.body, Ready), now)
            case "bye":
                self._peers.remove(peer.id)

    def _from_frontend(self, event: MessageReceived, peer: Peer, message: Parcel, now: float) -> None:
        match message.envelope.type:
            case "submit":
                self._submit(event, peer.id, message, now)
            case "cancel":
                if not self._cancel(peer.id, message.envelope.ids, now):
                    self._offences.useless(peer.id, now)
            case "pong" if not self._heartbeat.answered(peer):
                self._offences.useless(peer.id, now)
            case "admin":
                self._ask(self._questions.read(event, now), now)
            case "bye":
                self._peer_lost(peer.id, SAID_BYE, now)

    # --- requests -------------------------------------------------------------------------------

    def _submit(self, event: MessageReceived, peer: str, message: Parcel, now: float) -> None:
        envelope = message.envelope
        if len(envelope.ids) != 1:
            raise RemoteProtocolError(f"submit: expected one id, got {len(envelope.ids)}")
        if self._shutdown.state != "running":
            raise ShuttingDown("mlxd is shutting down and takes no new requests")
        model = self._roster.get(envelope.model, envelope.task)
        if model is None:
            self._roster.park(event, now)
        else:
            self._dispatcher.submit(peer, message, model, now)

    def _scanned(self, scan: CatalogScanned, now: float) -> None:
        for event in self._roster.scanned(scan, now):
            try:
                model = self._roster.find(event.message.envelope.model, event.message.envelope.task)
                self._dispatcher.submit(event.peer, event.message, model, now)
            except MlxdError as e:
                self._offences.refuse(event.peer, event.message, e, now)
        self._admin.scanned(now)
        self._lifecycle.load_missing(self._preload, now)

    def _cancel(self, peer: str, ids: tuple[str, ...], now: float) -> bool:
        was_open = self._dispatcher.cancel(peer, ids, now)
        for request_id in (parked := self._roster.take_parked(peer, ids)):
            self._dispatcher.tell_cancelled(peer, request_id)
        return was_open or bool(parked)

    def _is_busy(self, model: str) -> bool:
        return self._dispatcher.is_busy(model) or self._questions.is_load_awaited(model)

    # --- processes ------------------------------------------------------------------------------

    def _process_exited(self, event: ProcessExited, now: float) -> None:
        process = self._supervisor.get(event.name)
        if process is None:
            return
        if process.peer:
            self._peers.remove(process.peer)
        if process.role == "worker":
            self._lifecycle.exited(process, event, now)
            return
        had_hello = bool(process.peer)
        self._lifecycle.frontend_lost(process.peer, now)
        self._supervisor.exited(event.name, event.reason, event.last_words, now)
        if event.is_refusal and not had_hello:
            self._supervisor.give_up(process)
            self._status.refused_frontends[process.kind] = event.reason

    # --- administration -------------------------------------------------------------------------

    def _ask(self, question: Question, now: float) -> None:
        if question.operation == "stop":
            self._questions.answer(question, DoneReply(detail="stopping"))
            self._shutdown.stop(now, at_once=question.args.force)
        else:
            self._admin.ask(question, now)

    def _measured(self, event: Measured, now: float) -> None:
        self._watch.measured(event)
        self._placement.relieve(now)
        self._questions.measured(lambda: self._status.reply(self._shutdown.state, now))

    # --- time and the end -----------------------------------------------------------------------

    def _peer_lost(self, peer_id: str, reason: str, now: float) -> None:
        self._offences.peer_lost(peer_id)
        peer = self._peers.remove(peer_id)
        if peer is None:
            return
        self._out.append(farewell(peer, reason))
        if peer.role == "worker":
            if peer.process:
                self._supervisor.fail(peer.process, f"its connection was lost: {reason}", now)
            return
        self._lifecycle.frontend_lost(peer_id, now)

    def _time_passed(self, now: float) -> None:
        self._heartbeat.tick(now)
        for peer in self._peers.silent(now, self._settings.kernel.dead_after_s):
            self._peer_lost(peer.id, "no sign of life", now)
        self._supervisor.tick(now)
        self._watch.tick(now)
        self._roster.tick(now)
        self._dispatcher.tick(now)
        self._shutdown.tick(now)

    def _settle(self, now: float) -> None:
        """What follows from any change: idle models leave, others are loaded, and the kernel ends."""
        self._shutdown.settle(now)
        if self._shutdown.state != "stopping":
            self._residency.unload_idle(now)
            self._lifecycle.load_wanted(now)

    def _taken(self) -> list[Action]:
        actions = self._out.copy()
        self._out.clear()
        return actions
