"""What ties requests to models and processes: a model is loaded for them, and a lost process ends them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kernel.actions import Emit, Log, RemoveFolder, Send
from kernel.dispatch import Dispatcher
from kernel.events import ProcessExited
from kernel.placement import Placement
from kernel.questions import Questions
from kernel.residency import Residency
from kernel.roster import Roster
from kernel.supervisor import Process, Supervisor
from transports.errors import (
    MlxdError,
    ModelNotFound,
    ModelUnavailable,
    RemoteProtocolError,
    WorkerCrashed,
    WorkerHung,
    from_failed,
)
from transports.frames import parcel
from transports.loading import Load, Ready
from transports.messages import Failed, Progress
from transports.redaction import redacted
from transports.reports import DoneReply
from transports.settings import ModelOptions

# What a process returns that we ended for its fault: by SIGKILL.
KILLED = -9


class Lifecycle:
    """Tells the dispatcher and the questions what became of a model."""

    def __init__(
        self,
        options: Mapping[str, ModelOptions],
        roster: Roster,
        supervisor: Supervisor,
        residency: Residency,
        placement: Placement,
        dispatcher: Dispatcher,
        questions: Questions,
        emit: Emit,
    ) -> None:
        self._options = options
        self._roster = roster
        self._supervisor = supervisor
        self._residency = residency
        self._placement = placement
        self._dispatcher = dispatcher
        self._questions = questions
        self._emit = emit

    def load_wanted(self, now: float) -> None:
        """Load the models that requests wait for, as far as there is room."""
        if not self._dispatcher.num_queued and not self._residency.has_waiting():
            return
        for name in self._dispatcher.models_waited_for():
            model = self._roster.get(name)
            if model and self._residency.get(name) is None:
                self._residency.want(model, now)
            elif model is None:
                gone = ModelNotFound(f"model: {name!r} is not here any more", param="model")
                self._dispatcher.fail_waiting(name, gone)
        for name, error in self._placement.refused():
            self.failed(name, error, now)
        for name, error in self._placement.kept_out(now):
            self._dispatcher.fail_waiting(name, error)
            self._questions.loaded(name, error)
        self._placement.make_room(now)

    def load_missing(self, names: tuple[str, ...], now: float) -> None:
        """Load models that must be there from the start."""
        for name in names:
            model = self._roster.get(name)
            if model and self._residency.is_missing(name) and not self._residency.unavailable(name, now):
                self._residency.want(model, now)

    def frontend_lost(self, peer: str, now: float) -> None:
        """Nobody wants the answers to what it asked for, and nobody else removes its files."""
        if peer:
            self._emit(RemoveFolder(peer))
        self._roster.take_parked(peer)
        self._dispatcher.peer_lost(peer, now)
        self._questions.peer_lost(peer)

    def connected(self, worker: Process) -> None:
        """A worker said hello: tell it what to load."""
        resident = self._residency.get(worker.model)
        if resident is None:
            return
        settings = self._placement.load_settings(resident.name, resident.kind)
        defaults = self._options.get(resident.name, ModelOptions()).defaults()
        load = Load(path=resident.path, settings=settings, defaults=defaults)
        self._emit(Send(worker.peer, parcel("load", load)))
        self.progressed(worker.model, Progress(phase="load"))

    def progressed(self, model: str, progress: Progress) -> None:
        """Those who wait for *model* are told how far it is."""
        if resident := self._residency.get(model):
            resident.progress = progress
        self._dispatcher.tell_progress(model, progress)
        self._questions.load_progressed(model, progress)

    def ready(self, worker: Process, info: Ready, now: float) -> None:
        """A worker answers requests.

        Raises:
            RemoteProtocolError: It has room for none.
        """
        if info.num_slots < 1:
            raise RemoteProtocolError(f"ready: num_slots: expected 1 or more, got {info.num_slots}")
        self._supervisor.ready(worker, info, now)
        self._residency.ready(worker.model, now)
        self._emit(Log("info", "model_ready", {"model": worker.model, "pid": worker.pid}))
        for note in info.notes:
            self._emit(Log("warning", "worker_note", {"model": worker.model, "note": note}))
        self._dispatcher.model_ready(worker.model, now)
        self._questions.loaded(worker.model, DoneReply(detail="loaded"))

    def load_failed(self, model: str, said: Failed, now: float) -> None:
        """A model could not be prepared or loaded: clients learn why, and not where on the disk."""
        resident = self._residency.get(model)
        message = said.message.replace(resident.path, model) if resident and resident.path else said.message
        said = msgspec.structs.replace(said, message=redacted(message))
        self.failed(model, from_failed(said), now)

    def failed(self, model: str, error: MlxdError, now: float) -> None:
        """A model cannot be loaded: nobody waits for it any longer."""
        self._residency.failed(model, error, now)
        self._dispatcher.fail_waiting(model, error)
        self._questions.loaded(model, error)

    def exited(self, worker: Process, event: ProcessExited, now: float) -> None:
        """A worker process ended: what it had fails, what waits goes on waiting if it comes back."""
        model, had_hello = worker.model, bool(worker.peer)
        reason = redacted(event.reason)
        ended = f"its worker ended: {reason}"
        if worker.fault and event.returncode not in (None, KILLED):
            # We noticed that it was gone before the system told why; only its own reason says that.
            worker.fault, worker.is_hung = event.reason, False
        elif worker.fault:
            ended = f"its worker was ended: {worker.fault}"
        error_type = WorkerHung if worker.is_hung else WorkerCrashed
        self._supervisor.exited(worker.name, event.reason, event.last_words, now)
        error: MlxdError
        if worker.state == "stopped":
            error = ModelUnavailable(f"{model}: unloaded while it answered")
        else:
            error = error_type(f"{model}: {ended}; it is being started again")
        was_wished = worker.state != "stopped"
        self._dispatcher.worker_lost(worker.name, error, now, was_wished=was_wished)
        if worker.state == "stopped":
            self._residency.gone(model)
            self._questions.unloaded(model, DoneReply(detail="unloaded"))
            # An administrator who came after that wants it back; requests are looked after anyway.
            if self._questions.is_waited_for(model) and (info := self._roster.get(model)):
                self._residency.want(info, now)
        elif event.is_refusal and not had_hello:
            self._supervisor.give_up(worker)
            self.failed(model, ModelUnavailable(f"{model}: {reason}"), now)
        elif looped := self._residency.unavailable(model, now):
            self._dispatcher.fail_waiting(model, looped)
            self._questions.loaded(model, looped)

    def check(self) -> None:
        """Raise AssertionError if an invariant is broken."""
        self._dispatcher.check()
        self._residency.check()
        self._placement.check()
        for model in self._dispatcher.models_waited_for():
            if self._residency.get(model) is None:
                raise AssertionError(f"nobody loads {model}, which requests wait for")
