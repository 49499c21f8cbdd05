"""What administrators can have done: load, unload, pin, list, and jobs beside the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kernel.dispatch import Dispatcher
from kernel.memory_watch import MemoryWatch
from kernel.peers import Peers
from kernel.placement import Placement
from kernel.questions import Question, Questions
from kernel.residency import Residency
from kernel.retention import Retention
from kernel.roster import Roster
from kernel.supervisor import Supervisor
from kernel.view import list_models, model_info, queue_reply
from transports.envelope import Message
from transports.errors import MlxdError, ModelUnavailable, NotFound, RequestError
from transports.reports import DoneReply, ModelReport, ModelsReply
from transports.settings import ModelOptions

# Operations that the shell does beside the loop; the others only read or change the kernel's state.
JOBS = frozenset(
    {"models.import", "models.pull", "envs.list", "envs.sync", "envs.rollback", "envs.rm", "plugins.list"}
)


class Administrator:
    """Carries out operations on the kernel's parts; `Questions` remembers who waits for what."""

    def __init__(
        self,
        options: Mapping[str, ModelOptions],
        questions: Questions,
        roster: Roster,
        residency: Residency,
        placement: Placement,
        retention: Retention,
        watch: MemoryWatch,
        dispatcher: Dispatcher,
        supervisor: Supervisor,
        peers: Peers,
    ) -> None:
        self._options = options
        self._questions = questions
        self._roster = roster
        self._residency = residency
        self._placement = placement
        self._retention = retention
        self._watch = watch
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._peers = peers

    def ask(self, question: Question, now: float) -> None:
        """Begin an operation; "stop" is the broker's own.

        Raises:
            MlxdError: It cannot be done.
        """
        match question.operation:
            case "status":
                self._questions.after_measuring(question)
                self._watch.measure()
            case "models.list" | "models.show" | "models.rm" | "load" | "pin":
                self._questions.after_scan(question)
            case "queue":
                self._questions.answer(question, queue_reply(self._dispatcher, self._peers, now))
            case "unload":
                self._unload(question, now)
            case "unpin":
                self._unpin(question, now)
            case operation if operation in JOBS:
                self._questions.run_job(question)
            case operation:
                raise NotFound(f"admin: no operation {operation!r}")

    def scanned(self, now: float) -> None:
        """Answer what waited for a look at the disk."""
        self._questions.scanned(lambda question: self._answer_from_roster(question, now))

    def _answer_from_roster(self, question: Question, now: float) -> Message | MlxdError | None:
        if question.operation == "models.list":
            return ModelsReply(models=list_models(self._roster, self._residency))
        try:
            match question.operation:
                case "models.show":
                    return self._show(question.args.model)
                case "pin":
                    return self._pin(question.args.model)
                case "models.rm":
                    self._remove(question, now)
                    return None
                case _:
                    return self._load(question, now)
        except MlxdError as e:
            return e

    def _load(self, question: Question, now: float) -> Message | None:
        model = self._roster.find(question.args.model)
        if self._residency.worker(model.name):
            self._residency.want(model, now, question.args.keep_alive_s)
            return DoneReply(detail="loaded already")
        self._residency.want(model, now, question.args.keep_alive_s)
        resident = self._residency.get(model.name)
        if resident is None:
            raise ModelUnavailable(f"{model.name}: mlxd is shutting down and loads no more models")
        if process := self._residency.process(resident):
            self._supervisor.retry_now(process, now)
        self._questions.after_load(question, model.name)
        return None

    def _show(self, name: str) -> Message:
        model = self._roster.look_up(name)
        name = model.name
        resident = self._residency.get(name)
        idle_s = self._retention.idle_s(name, resident.keep_alive_s if resident else None)
        error = None if model.error else self._placement.refusal(model)
        memory_bytes, gpu_memory_bytes = self._placement.measured_bytes(name)
        return ModelReport(
            model=model_info(model, self._residency),
            estimate=None if model.error else self._placement.estimate(name, model.kind),
            memory_bytes=memory_bytes,
            gpu_memory_bytes=gpu_memory_bytes,
            is_pinned=self._retention.is_pinned(name),
            idle_unload_s=None if idle_s == math.inf else idle_s,
            settings=self._placement.load_settings(name, model.kind),
            defaults=self._options.get(name, ModelOptions()).defaults(),
            refusal=error.message if error else "",
        )

    def _remove(self, question: Question, now: float) -> None:
        name = question.args.model
        if (model := self._roster.look_up(name)).name != name:
            raise RequestError(f"{name}: an alias in the settings; the model is {model.name}")
        if self._residency.get(name) is None:
            self._questions.run_job(question)
        elif question.args.force:
            self._unload(question, now)
        else:
            raise RequestError(f"{name}: in memory; unload it first, or force that")

    def _pin(self, name: str) -> Message:
        model = self._roster.find(name)
        self._retention.pin(model.name)
        return DoneReply(detail="pinned" if self._residency.get(model.name) else "pinned, not loaded")

    def _unpin(self, question: Question, now: float) -> None:
        name = self._roster.resolve(question.args.model)
        if not self._retention.is_pinned(name):
            raise NotFound(f"{name}: not pinned")
        self._retention.unpin(name)
        self._residency.unpinned(now)
        self._questions.answer(question, DoneReply(detail="unpinned"))

    def _unload(self, question: Question, now: float) -> None:
        name = self._roster.resolve(question.args.model)
        if self._residency.get(name) is None:
            raise NotFound(f"{name}: not loaded")
        num_requests = self._dispatcher.num_running_in(name) + self._dispatcher.num_queued_for(name)
        if num_requests and not question.args.force:
            raise RequestError(f"{name}: {num_requests} requests are running or waiting; force ends them")
        self._dispatcher.fail_waiting(name, ModelUnavailable(f"{name}: unloaded by the administrator"))
        self._questions.loaded(name, NotFound(f"{name}: unloaded before it was loaded"))
        self._questions.after_unload(question, name)
        self._residency.unload(name, now)
        if self._residency.get(name) is None:
            self._questions.unloaded(name, DoneReply(detail="unloaded"))
