"""Administrators' open questions: answered once, some only when something has happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernel.actions import CancelJob, Emit, RunJob, ScanCatalog, Send
from kernel.events import MessageReceived
from transports.buckets import Buckets
from transports.codec import decode_body
from transports.envelope import Message
from transports.errors import MlxdError, RateLimited, RemoteProtocolError, RequestError
from transports.frames import Parcel, parcel
from transports.messages import Progress
from transports.reports import Admin
from transports.settings import KernelSettings

# Jobs that end when their asker goes.
FOR_THEIR_ASKER = frozenset({"models.import", "models.pull"})
# After these the disk holds other models.
CHANGE_MODELS = frozenset({"models.import", "models.pull", "models.rm"})


# Of what may be asked in a second, so much may be asked at once: many answers make one long turn.
BURST_S = 0.2


@dataclass(frozen=True, slots=True)
class Question:
    """An operation that was asked for and not answered yet."""

    id: str
    peer: str
    operation: str
    args: Admin


class Questions:
    """Open questions and what each waits for."""

    def __init__(self, settings: KernelSettings, emit: Emit) -> None:
        self._settings = settings
        self._emit = emit
        self._buckets: Buckets[str] = Buckets(BURST_S)
        self._jobs: dict[str, Question] = {}
        self._waiting_for_scan: list[Question] = []
        self._waiting_for_memory: list[Question] = []
        # Model -> who wants to know when it is loaded, or gone.
        self._waiting_for_load: dict[str, list[Question]] = {}
        self._waiting_for_unload: dict[str, list[Question]] = {}

    def read(self, event: MessageReceived, now: float) -> Question:
        """What is asked.

        Raises:
            RemoteProtocolError: Its body is malformed, or it names not one id.
            RateLimited: The process behind the peer asks too often.
            RequestError: The peer has asked too much that is not answered yet.
        """
        peer, envelope, settings = event.peer, event.message.envelope, self._settings
        if len(envelope.ids) != 1:
            raise RemoteProtocolError(f"admin: expected one id, got {len(envelope.ids)}")
        max_at_once = settings.max_questions_per_s * BURST_S
        owner = event.origin or peer
        if max_at_once and (retry_after_s := self._buckets.put(owner, max_at_once, now)):
            raise RateLimited(
                f"admin: this frontend has asked for {settings.max_questions_per_s} operations a second, the "
                "most that kernel.max_questions_per_s allows",
                retry_after_s=retry_after_s,
            )
        if sum(question.peer == peer for question in self._open()) >= settings.max_requests_per_peer:
            raise RequestError(
                f"admin: {settings.max_requests_per_peer} operations of this frontend are open, the most "
                "that kernel.max_requests_per_peer allows"
            )
        return Question(envelope.ids[0], peer, envelope.task, decode_body(event.message.body, Admin))

    def answer(self, question: Question, reply: Message | MlxdError) -> None:
        """End a question."""
        ids = (question.id,)
        if isinstance(reply, MlxdError):
            self._emit(Send(question.peer, parcel("failed", reply.to_failed(), ids=ids, finished=ids)))
        else:
            self._emit(Send(question.peer, parcel("reply", reply, ids=ids, finished=ids)))

    # --- questions that wait --------------------------------------------------------------------

    def run_job(self, question: Question) -> None:
        """Have the shell do it."""
        self._jobs[question.id] = question
        args = question.args
        self._emit(RunJob(question.id, question.operation, args.model, args.name))

    def job_progressed(self, job: str, progress: Progress) -> None:
        """Pass on how far it is."""
        if question := self._jobs.get(job):
            self._tell(question, progress)

    def job_ended(self, job: str, result: Message | MlxdError) -> None:
        """Answer it, if anybody still wants to know; an imported model is looked for."""
        question = self._jobs.pop(job, None)
        if question is None:
            return
        self.answer(question, result)
        if question.operation in CHANGE_MODELS:
            self._emit(ScanCatalog())

    def after_scan(self, question: Question) -> None:
        """Answer when the catalog has been read again."""
        if not self._waiting_for_scan:
            self._emit(ScanCatalog())
        self._waiting_for_scan.append(question)

    def scanned(self, reply: Callable[[Question], Message | MlxdError | None]) -> None:
        """Answer those; *reply* gives None for one that goes on waiting for something else."""
        self._waiting_for_scan, questions = [], self._waiting_for_scan
        for question in questions:
            if (result := reply(question)) is not None:
                self.answer(question, result)

    def after_measuring(self, question: Question) -> None:
        """Answer when memory has been measured, which somebody else must see to."""
        self._waiting_for_memory.append(question)

    def measured(self, reply: Callable[[], Message]) -> None:
        """Answer those."""
        self._waiting_for_memory, questions = [], self._waiting_for_memory
        if questions:
            # The same for all, and long.
            frames = parcel("reply", reply()).frames
            for question in questions:
                ids = (question.id,)
                self._emit(
                    Send(question.peer, Parcel(parcel("reply", ids=ids, finished=ids).envelope, frames))
                )

    def after_load(self, question: Question, model: str) -> None:
        """Answer when *model* is loaded or cannot be."""
        self._waiting_for_load.setdefault(model, []).append(question)

    def is_load_awaited(self, model: str) -> bool:
        """Whether somebody waits for *model* to be loaded."""
        return model in self._waiting_for_load

    def after_unload(self, question: Question, model: str) -> None:
        """Answer when *model* is gone."""
        self._waiting_for_unload.setdefault(model, []).append(question)

    def load_progressed(self, model: str, progress: Progress) -> None:
        """Pass on how far a load is."""
        for question in self._waiting_for_load.get(model, []):
            self._tell(question, progress)

    def loaded(self, model: str, result: Message | MlxdError) -> None:
        """*model* is loaded, or failed to."""
        for question in self._waiting_for_load.pop(model, []):
            self.answer(question, result)

    def is_waited_for(self, model: str) -> bool:
        """Whether somebody wants to see *model* loaded."""
        return model in self._waiting_for_load

    def unloaded(self, model: str, result: Message) -> None:
        """*model* has left the memory; what only waited for that to begin begins."""
        for question in self._waiting_for_unload.pop(model, []):
            if question.operation == "unload":
                self.answer(question, result)
            else:
                self.run_job(question)

    def peer_lost(self, peer: str) -> None:
        """Nobody waits for the answers to this peer's questions."""
        for job in [job for job, question in self._jobs.items() if question.peer == peer]:
            if self._jobs.pop(job).operation in FOR_THEIR_ASKER:
                self._emit(CancelJob(job))
        self._waiting_for_scan = [q for q in self._waiting_for_scan if q.peer != peer]
        self._waiting_for_memory = [q for q in self._waiting_for_memory if q.peer != peer]
        for waiting in (self._waiting_for_load, self._waiting_for_unload):
            for model in list(waiting):
                waiting[model] = [q for q in waiting[model] if q.peer != peer]
                if not waiting[model]:
                    del waiting[model]

    def _open(self) -> Iterator[Question]:
        yield from self._jobs.values()
        yield from self._waiting_for_scan
        yield from self._waiting_for_memory
        for waiting in (self._waiting_for_load, self._waiting_for_unload):
            for questions in waiting.values():
                yield from questions

    def _tell(self, question: Question, progress: Progress) -> None:
        self._emit(Send(question.peer, parcel("progress", progress, ids=(question.id,))))
