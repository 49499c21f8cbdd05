"""The kernel as one state machine: events in, actions out. Pure: no clock, no socket, no process.

This is the place to start reading: every event arrives in `handle` and is given to the part that knows.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from kernel.actions import Action, Exit, Log, ScanCatalog, Send
from kernel.admin import JOBS, Administrator, Question
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
from kernel.peers import Peer, Peers, check_allowed
from kernel.residency import Residency
from kernel.supervisor import Process, Supervisor
from kernel.view import KernelView, model_info, status_reply
from transports.codec import decode_body
from transports.errors import (
    Forbidden,
    MlxdError,
    ModelNotFound,
    ModelUnavailable,
    NotFound,
    RemoteProtocolError,
    RequestError,
    ShuttingDown,
    WorkerCrashed,
    WorkerHung,
    from_failed,
)
from transports.frames import Parcel, parcel
from transports.messages import (
    DoneReply,
    Drain,
    Failed,
    Hello,
    Load,
    Message,
    ModelInfo,
    ModelsReply,
    Ping,
    Pong,
    Progress,
    Ready,
    Welcome,
)
from transports.settings import Settings

# Names told to somebody who asked for an unknown model.
MAX_NAMES_TOLD = 20


class Broker:
    """The kernel's whole state. `handle` is its only entrance."""

    def __init__(self, settings: Settings, view: KernelView, client_token: str, random: Random) -> None:
        """A kernel that has not started anything.

        Args:
            settings: All settings.
            view: What status tells of the kernel that never changes.
            client_token: What frontends say in hello that the kernel did not start.
            random: For jitter.
        """
        self._settings = settings
        self._view = view
        self._client_token = client_token
        self._out: list[Action] = []
        self._peers = Peers(settings.kernel.max_peers)
        self._supervisor = Supervisor(settings.kernel, self._out.append, random)
        self._residency = Residency(settings.kernel, self._supervisor, self._out.append, self._is_busy)
        self._dispatcher = Dispatcher(settings.kernel, self._residency, self._out.append)
        self._admin = Administrator(self._out.append)
        self._catalog: dict[str, ModelInfo] = {}
        # Requests for models that the catalog did not have when they came.
        self._unknown: list[MessageReceived] = []
        self._preload: tuple[str, ...] = ()
        # Frontends that cannot start, and why.
        self._refused_frontends: dict[str, str] = {}
        self._next_ping_s = 0.0
        self._state: Literal["running", "draining", "stopping"] = "running"
        self._drain_deadline_s: float | None = None

    def start(self, preload: tuple[str, ...], now: float) -> list[Action]:
        """Start the frontends and load what must be there from the start."""
        self._preload = preload
        self._next_ping_s = now
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
        match event:
            case MessageReceived(peer, message):
                self._received(event, peer, message, now)
            case MalformedReceived(peer, error):
                self._malformed(peer, error, now)
            case PeerUnreachable(peer, reason):
                self._peer_lost(peer, reason, now)
            case ProcessStarted(name, pid):
                self._supervisor.spawned(name, pid)
            case ProcessExited():
                self._process_exited(event, now)
            case CatalogScanned(models):
                self._scanned(models, now)
            case Prepared(model, path):
                self._residency.prepared(model, path, now)
            case PrepareFailed(model, error):
                self._model_failed(model, error, now)
            case PrepareProgressed(model, progress):
                self._progressed(model, progress)
            case JobProgressed(job, progress):
                self._admin.job_progressed(job, progress)
            case JobEnded(job, result):
                self._job_ended(job, result)
            case Measured():
                self._admin.measured(self._status(event, now))
            case StopRequested(at_once):
                self._stop(at_once, now)
            case TimePassed():
                self._time_passed(now)
        self._settle(now)
        return self._taken()

    def next_deadline(self) -> float | None:
        """When TimePassed is due; monotonic seconds."""
        deadlines = (
            self._next_ping_s,
            self._supervisor.next_deadline(),
            self._dispatcher.next_deadline(),
            self._drain_deadline_s,
        )
        return min(deadline for deadline in deadlines if deadline is not None)

    def check(self) -> None:
        """Raise AssertionError if an invariant is broken; for tests."""
        self._dispatcher.check()
        for model in self._dispatcher.models_waited_for():
            if self._residency.get(model) is None:
                raise AssertionError(f"nobody loads {model}, which requests wait for")

    # --- messages -------------------------------------------------------------------------------

    def _received(self, event: MessageReceived, peer_id: str, message: Parcel, now: float) -> None:
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
            self._refuse(peer_id, message, e, now)

    def _refuse(self, peer_id: str, message: Parcel, error: MlxdError, now: float) -> None:
        """A frontend is told what was wrong; a worker that breaks the protocol is not to be trusted."""
        peer = self._peers.get(peer_id)
        if peer and peer.role == "worker" and peer.process:
            self._supervisor.fail(peer.process, error.message, now)
            return
        ids = message.envelope.ids
        self._out.append(Send(peer_id, parcel("failed", error.to_failed(), ids=ids, finished=ids)))

    def _malformed(self, peer_id: str, error: MlxdError, now: float) -> None:
        self._out.append(Log("warning", "malformed_message", {"peer": peer_id, "reason": error.message}))
        peer = self._peers.get(peer_id)
        if peer and peer.process:
            self._supervisor.fail(peer.process, error.message, now)

    def _hello(self, peer_id: str, message: Parcel, now: float) -> None:
        hello = decode_body(message.body, Hello)
        if peer_id in self._peers:
            self._peer_lost(peer_id, "said hello again", now)
        if hello.mlxd_version != self._view.version:
            raise RemoteProtocolError(
                f"hello: this kernel is mlxd {self._view.version}, {hello.name} is {hello.mlxd_version}; "
                "restart the older one"
            )
        process = self._supervisor.hello(peer_id, hello, now)
        if process is None and (hello.role == "worker" or hello.token != self._client_token):
            raise Forbidden("hello: the token is not one that this kernel gave out")
        peer = self._peers.add(peer_id, hello, process, now)
        kernel = self._settings.kernel
        welcome = Welcome(
            kernel_version=self._view.version,
            heartbeat_s=kernel.heartbeat_s,
            dead_after_s=kernel.dead_after_s,
            max_frame_bytes=kernel.max_frame_bytes,
            max_frames=kernel.max_frames,
        )
        self._out.append(Send(peer_id, parcel("welcome", welcome)))
        if self._state != "running" and peer.role == "frontend":
            self._out.append(Send(peer_id, parcel("drain", Drain())))
        if process and process.role == "worker":
            self._order_load(process)

    def _order_load(self, process: Process) -> None:
        resident = self._residency.get(process.model)
        if resident is None:
            return
        section = self._view.worker_settings.get(process.kind, {})
        self._out.append(Send(process.peer, parcel("load", Load(path=resident.path, settings=section))))
        self._progressed(process.model, Progress(phase="load"))

    def _from_worker(self, peer: Peer, worker: Process, message: Parcel, now: float) -> None:
        match message.envelope.type:
            case "events":
                self._dispatcher.worker_spoke(worker, message, now)
            case "failed" if message.envelope.ids:
                self._dispatcher.worker_spoke(worker, message, now)
            case "failed":
                self._model_failed(worker.model, from_failed(decode_body(message.body, Failed)), now)
            case "pong":
                self._supervisor.progressed(worker, decode_body(message.body, Pong), now)
            case "progress":
                worker.progress_s = now
                self._progressed(worker.model, decode_body(message.body, Progress))
            case "ready" if worker.state == "loading":
                self._supervisor.ready(worker, decode_body(message.body, Ready), now)
                self._out.append(Log("info", "model_ready", {"model": worker.model, "pid": worker.pid}))
                self._dispatcher.model_ready(worker.model, now)
                self._admin.loaded(worker.model, DoneReply(detail="loaded"))
            case "bye":
                self._peers.remove(peer.id)

    def _from_frontend(self, event: MessageReceived, peer: Peer, message: Parcel, now: float) -> None:
        match message.envelope.type:
            case "submit":
                self._submit(event, peer.id, message, now)
            case "cancel":
                self._dispatcher.cancel(peer.id, message.envelope.ids)
                self._forget_unknown(peer.id, message.envelope.ids)
            case "admin":
                if len(message.envelope.ids) != 1:
                    raise RemoteProtocolError(f"admin: expected one id, got {len(message.envelope.ids)}")
                self._ask(self._admin.ask(peer.id, message), now)
            case "bye":
                self._peer_lost(peer.id, "said bye", now)

    # --- requests -------------------------------------------------------------------------------

    def _submit(self, event: MessageReceived, peer: str, message: Parcel, now: float) -> None:
        envelope = message.envelope
        if len(envelope.ids) != 1:
            raise RemoteProtocolError(f"submit: expected one id, got {len(envelope.ids)}")
        if self._state != "running":
            raise ShuttingDown("mlxd is shutting down and takes no new requests")
        model = self._catalog.get(envelope.model)
        if model is None or model.error:
            # Perhaps it came, or was mended, since we looked.
            if not self._unknown:
                self._out.append(ScanCatalog())
            self._unknown.append(event)
            return
        self._dispatcher.submit(peer, message, model, now)

    def _scanned(self, models: tuple[ModelInfo, ...], now: float) -> None:
        self._catalog = {model.name: model for model in models}
        unknown, self._unknown = self._unknown, []
        for event in unknown:
            try:
                model = self._find(event.message.envelope.model)
                self._dispatcher.submit(event.peer, event.message, model, now)
            except MlxdError as e:
                self._refuse(event.peer, event.message, e, now)
        self._admin.scanned(lambda question: self._answer_from_catalog(question, now))
        for name in self._preload:
            if name in self._catalog and self._residency.unavailable(name, now) is None:
                self._residency.want(self._catalog[name], now)

    def _find(self, name: str) -> ModelInfo:
        """The model of that name.

        Raises:
            ModelNotFound: There is none.
            ModelUnavailable: Its files cannot be served.
        """
        model = self._catalog.get(name)
        if model is None:
            known = sorted(self._catalog)
            told = ", ".join(known[:MAX_NAMES_TOLD]) + (", ..." if len(known) > MAX_NAMES_TOLD else "")
            raise ModelNotFound(f"model: {name!r} is not here; known: {told or 'none'}", param="model")
        if model.error:
            raise ModelUnavailable(f"{name}: {model.error}", param="model")
        return model

    def _forget_unknown(self, peer: str, ids: tuple[str, ...] | None = None) -> None:
        """Requests still waiting for a scan are not wanted any more; *ids* None means all of the peer."""
        for event in list(self._unknown):
            request_id = event.message.envelope.ids[0]
            if event.peer == peer and (ids is None or request_id in ids):
                self._unknown.remove(event)
                if ids is not None:
                    cancelled = ShuttingDown("cancelled before its model was found")
                    failed = parcel(
                        "failed", cancelled.to_failed(), ids=(request_id,), finished=(request_id,)
                    )
                    self._out.append(Send(peer, failed))

    def _is_busy(self, model: str) -> bool:
        return self._dispatcher.is_busy(model)

    # --- models ---------------------------------------------------------------------------------

    def _progressed(self, model: str, progress: Progress) -> None:
        if resident := self._residency.get(model):
            resident.progress = progress
        self._dispatcher.tell_progress(model, progress)
        self._admin.load_progressed(model, progress)

    def _model_failed(self, model: str, error: MlxdError, now: float) -> None:
        self._residency.failed(model, error, now)
        self._dispatcher.fail_waiting(model, error)
        self._admin.loaded(model, error)

    def _process_exited(self, event: ProcessExited, now: float) -> None:
        process = self._supervisor.get(event.name)
        if process is None:
            return
        if process.peer:
            self._peers.remove(process.peer)
            if process.role == "frontend":
                self._dispatcher.peer_lost(process.peer)
                self._admin.peer_lost(process.peer)
        fault, had_hello, reason = process.fault, bool(process.peer), _describe_exit(event)
        self._supervisor.exited(event.name, reason, now)
        if process.role == "frontend":
            if event.returncode == 2 and not had_hello:
                self._supervisor.give_up(process)
                self._refused_frontends[process.kind] = reason
            return
        error: MlxdError
        if fault:
            error = WorkerHung(f"{process.model}: its worker was ended: {fault}; it is being started again")
        else:
            error = WorkerCrashed(f"{process.model}: its worker ended: {reason}; it is being started again")
        self._dispatcher.worker_lost(process.name, error)
        if process.state == "stopped":
            self._residency.gone(process.model, now)
            self._admin.unloaded(process.model, DoneReply(detail="unloaded"))
        elif event.returncode == 2 and not had_hello:
            self._supervisor.give_up(process)
            self._model_failed(process.model, ModelUnavailable(f"{process.model}: {reason}"), now)
        elif looped := self._residency.unavailable(process.model, now):
            self._dispatcher.fail_waiting(process.model, looped)
            self._admin.loaded(process.model, looped)

    # --- administration -------------------------------------------------------------------------

    def _ask(self, question: Question, now: float) -> None:
        match question.operation:
            case "status":
                pids = [process.pid for process in self._supervisor if process.pid]
                self._admin.after_measuring(question, tuple(pids))
            case "models.list" | "load":
                self._admin.after_scan(question)
            case "unload":
                self._unload(question, now)
            case "stop":
                self._admin.answer(question, DoneReply(detail="stopping"))
                self._stop(question.args.force, now)
            case operation if operation in JOBS:
                self._admin.run_job(question)
            case operation:
                raise NotFound(f"admin: no operation {operation!r}")

    def _answer_from_catalog(self, question: Question, now: float) -> Message | MlxdError | None:
        if question.operation == "models.list":
            infos = [model_info(model, self._residency) for model in self._catalog.values()]
            return ModelsReply(models=tuple(infos))
        try:
            model = self._find(question.args.model)
        except MlxdError as e:
            return e
        if self._state != "running":
            return ShuttingDown("mlxd is shutting down and loads no more models")
        if self._residency.worker(model.name):
            return DoneReply(detail="loaded already")
        self._residency.want(model, now)
        self._admin.after_load(question, model.name)
        resident = self._residency.get(model.name)
        if resident and (process := self._residency.process(resident)):
            self._supervisor.retry_now(process, now)
        return None

    def _unload(self, question: Question, now: float) -> None:
        name = question.args.model
        num_running = self._dispatcher.num_running_in(name) + self._dispatcher.num_queued_for(name)
        if self._residency.get(name) is None:
            raise NotFound(f"{name}: not loaded")
        if num_running and not question.args.force:
            raise RequestError(f"{name}: {num_running} requests are running or waiting; force ends them")
        self._dispatcher.fail_waiting(name, ModelUnavailable(f"{name}: unloaded by the administrator"))
        self._admin.after_unload(question, name)
        self._residency.unload(name, now)
        if self._residency.get(name) is None:
            self._admin.unloaded(name, DoneReply(detail="unloaded"))

    def _job_ended(self, job: str, result: Message | MlxdError) -> None:
        question = self._admin.job_ended(job, result)
        if question and question.operation == "models.import":
            self._out.append(ScanCatalog())

    def _status(self, measured: Measured, now: float) -> Message:
        return status_reply(
            self._view,
            self._state,
            self._preload,
            self._supervisor,
            self._residency,
            self._dispatcher,
            self._peers,
            self._refused_frontends,
            measured.memory_bytes,
            now,
        )

    # --- time and the end -----------------------------------------------------------------------

    def _peer_lost(self, peer_id: str, reason: str, now: float) -> None:
        peer = self._peers.remove(peer_id)
        if peer is None:
            return
        self._out.append(Log("info", "peer_left", {"name": peer.name, "reason": reason}))
        if peer.role == "worker":
            if peer.process:
                self._supervisor.fail(peer.process, f"its connection was lost: {reason}", now)
            return
        self._forget_unknown(peer_id)
        self._dispatcher.peer_lost(peer_id)
        self._admin.peer_lost(peer_id)

    def _time_passed(self, now: float) -> None:
        if now >= self._next_ping_s:
            self._next_ping_s = now + self._settings.kernel.heartbeat_s
            ping = parcel("ping", Ping())
            for peer in self._peers:
                self._out.append(Send(peer.id, ping))
        for peer in self._peers.silent(now, self._settings.kernel.dead_after_s):
            self._peer_lost(peer.id, "no sign of life", now)
        self._supervisor.tick(now)
        self._dispatcher.expire(now)
        if self._drain_deadline_s is not None and self._drain_deadline_s <= now:
            self._end_all_requests(now)

    def _stop(self, at_once: bool, now: float) -> None:
        if self._state == "running" and not at_once:
            self._state = "draining"
            self._drain_deadline_s = now + self._settings.kernel.drain_timeout_s
            self._out.append(Log("info", "draining", {"num_requests": len(self._dispatcher)}))
            for peer in self._peers:
                if peer.role == "frontend":
                    self._out.append(Send(peer.id, parcel("drain", Drain())))
            return
        self._state = "stopping"
        self._drain_deadline_s = None
        self._residency.shut()
        self._dispatcher.fail_all(ShuttingDown("mlxd is ending now"))
        self._supervisor.end_all(now)

    def _end_all_requests(self, now: float) -> None:
        self._drain_deadline_s = None
        self._dispatcher.fail_all(ShuttingDown("mlxd is shutting down; the request took longer than allowed"))
        self._begin_stopping(now)

    def _begin_stopping(self, now: float) -> None:
        self._state = "stopping"
        self._drain_deadline_s = None
        self._residency.shut()
        for process in self._supervisor:
            self._supervisor.stop(process, now)

    def _settle(self, now: float) -> None:
        """What follows from any change: load what is waited for, and end when all has ended."""
        if self._state == "draining" and not len(self._dispatcher):
            self._begin_stopping(now)
        if self._state == "stopping":
            if not any(process.is_live for process in self._supervisor):
                self._out.append(Exit(0))
            return
        for name in self._dispatcher.models_waited_for():
            if self._residency.get(name) is None:
                self._residency.want(self._catalog[name], now)
        self._residency.make_room(now)

    def _taken(self) -> list[Action]:
        actions = self._out.copy()
        self._out.clear()
        return actions


def _describe_exit(event: ProcessExited) -> str:
    last = f": {event.last_words[-1]}" if event.last_words else ""
    if event.returncode is None:
        return f"it could not be started{last}"
    if event.returncode < 0:
        return f"signal {-event.returncode}{last}"
    if event.returncode == 2 and event.last_words:
        return event.last_words[-1].removeprefix("mlxd: ")
    return f"exit code {event.returncode}{last}"
