"""Which models are in memory, on their way there, or wait for a place; `placement.py` gives the places."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from kernel.actions import Emit, Log, Prepare
from kernel.events import Prepared
from kernel.memory import Plan
from kernel.retention import Retention
from kernel.supervisor import Process, Supervisor
from transports.errors import MlxdError, ModelUnavailable
from transports.loading import Ready
from transports.messages import Progress
from transports.redaction import redacted
from transports.reports import ModelInfo, ModelState
from transports.settings import KernelSettings

# How soon a model is looked at again whose time was over and that was busy.
RECHECK_S = 1.0
# waiting: for a place in memory. preparing: environment and files. process: the supervisor has it.
Phase = Literal["waiting", "preparing", "process"]


@dataclass(slots=True)
class Resident:
    """A model that is in memory or on its way there."""

    name: str
    kind: str
    # When it was first wanted: those who wait for a place get one in this order.
    wanted_s: float
    # When somebody last asked for it, or had an answer of it.
    used_s: float
    phase: Phase = "waiting"
    path: str = ""
    # Of the files that it was loaded from.
    fingerprint: str = ""
    # How far it is, for those who wait.
    progress: Progress = Progress(phase="queued")  # noqa: RUF009  # Frozen.
    # How much memory it takes, and how much of that are keys and values; settled when it gets a place.
    plan: Plan = Plan()  # noqa: RUF009  # Frozen.
    kv_bytes: int = 0
    # What the last request that said so wished, see `Retention.idle_s`.
    keep_alive_s: float | None = None
    # The supervisor's name for its worker.
    worker_name: str = field(init=False)

    def __post_init__(self) -> None:
        self.worker_name = f"{self.kind}:{self.name}"


class Residency:
    """All models that are in memory or on their way."""

    def __init__(
        self,
        settings: KernelSettings,
        retention: Retention,
        supervisor: Supervisor,
        emit: Emit,
        is_busy: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._retention = retention
        self._supervisor = supervisor
        self._emit = emit
        self._is_busy = is_busy
        self._residents: dict[str, Resident] = {}
        self._is_shut = False
        # No idle model leaves before this; and when that was looked at last.
        self._next_leave_s = math.inf
        self._looked_s = -math.inf
        self._were_ready: set[str] = set()
        # Why a model could not be loaded the last time, and when that was.
        self._errors: dict[str, tuple[MlxdError, float]] = {}

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._residents.values()))

    def get(self, model: str) -> Resident | None:
        """The resident of that name."""
        return self._residents.get(model)

    def want(self, model: ModelInfo, now: float, keep_alive_s: float | None = None) -> None:
        """Have a model loaded; if it is already on its way this only counts as use.

        Args:
            model: Of the catalog.
            now: Monotonic seconds.
            keep_alive_s: See `Retention.idle_s`; None changes nothing.
        """
        resident = self._residents.get(model.name)
        if resident is None:
            self._errors.pop(model.name, None)
            resident = self._residents[model.name] = Resident(model.name, model.kind, now, now)
        elif keep_alive_s is None:
            # It leaves no sooner than before.
            resident.used_s = now
            return
        resident.keep_alive_s = keep_alive_s
        self.used(model.name, now)

    def shut(self) -> None:
        """Load nothing any more."""
        self._is_shut = True
        for resident in self:
            if resident.phase != "process":
                del self._residents[resident.name]

    def used(self, model: str, now: float) -> None:
        """*model* is ready, or a request for it has ended: its idle time begins anew."""
        if resident := self._residents.get(model):
            resident.used_s = now
            self._next_leave_s = min(self._next_leave_s, self._leaves_s(resident))

    def has_waiting(self) -> bool:
        """Whether anybody waits for a place."""
        return "waiting" in [resident.phase for resident in self._residents.values()]

    def waiting(self) -> list[Resident]:
        """Those who wait for a place, first come first; without those whose last worker has not left yet."""
        found = [r for r in self if r.phase == "waiting" and self.process(r) is None]
        return [] if self._is_shut else sorted(found, key=lambda r: r.wanted_s)

    def placed(self) -> list[Resident]:
        """Those who have a place."""
        return [r for r in self if r.phase != "waiting"]

    def evictable(self) -> list[Resident]:
        """Those who may leave for another one, the one used longest ago first."""
        idle = [r for r in self if self._is_idle(r) and not self._retention.is_pinned(r.name)]
        return sorted(idle, key=lambda r: r.used_s)

    def place(self, resident: Resident, plan: Plan, kv_bytes: int) -> None:
        """Give a place to one that waits, with so many bytes for keys and values."""
        resident.plan, resident.kv_bytes = plan, kv_bytes
        resident.phase = "preparing"
        self._emit(Prepare(resident.name))

    def evict(self, resident: Resident, reason: str, now: float) -> None:
        """Have an idle model leave for others."""
        self._emit(Log("info", "model_evicted", {"model": resident.name, "reason": reason}))
        self.unload(resident.name, now)

    def prepared(self, event: Prepared, now: float) -> None:
        """Environment and files are there: start the worker."""
        resident = self._residents.get(event.model)
        if resident is None or resident.phase != "preparing":
            return
        resident.phase = "process"
        resident.path = event.path
        resident.fingerprint = event.fingerprint
        resident.progress = Progress(phase="start")
        self._supervisor.start(resident.worker_name, "worker", resident.kind, event.model, now)

    def is_preparing(self, model: str) -> bool:
        """Whether environment and files of *model* are being fetched for somebody."""
        resident = self._residents.get(model)
        return resident is not None and resident.phase == "preparing"

    def failed(self, model: str, error: MlxdError, now: float) -> None:
        """The model cannot be loaded until somebody asks for it again."""
        resident = self._residents.pop(model, None)
        self._errors[model] = (error, now)
        self._emit(Log("error", "model_failed", {"model": model, "reason": error.message}))
        if resident and (process := self.process(resident)):
            self._supervisor.stop(process, now)

    def ready(self, model: str, now: float) -> None:
        """The model answers requests."""
        self._were_ready.add(model)
        self.used(model, now)

    def unload_idle(self, now: float) -> None:
        """Take models out of memory that nobody has asked for in their time."""
        if now < self._next_leave_s:
            return
        self._next_leave_s, self._looked_s = math.inf, now
        for resident in self:
            leaves_s = self._leaves_s(resident)
            if now < leaves_s or not self._is_idle(resident):
                # What is not idle may become so without a word, as when a request leaves the queue.
                self._next_leave_s = min(self._next_leave_s, max(leaves_s, now + RECHECK_S))
                continue
            idle_s = round(now - resident.used_s, 1)
            self._emit(Log("info", "model_idle", {"model": resident.name, "idle_s": idle_s}))
            self.unload(resident.name, now)

    def next_deadline(self) -> float | None:
        """When `unload_idle` has something to do, if nothing else happens before."""
        return None if self._is_shut or self._next_leave_s == math.inf else self._next_leave_s

    def leaves_in_s(self, model: str, now: float) -> float | None:
        """Until an idle model leaves if nobody asks for it, seconds; None for one that is busy, or stays."""
        resident = self._residents.get(model)
        if resident is None or not self._is_idle(resident) or self.worker(model) is None:
            return None
        leaves_s = self._leaves_s(resident)
        return None if leaves_s == math.inf else max(0.0, leaves_s - now)

    def unpinned(self, now: float) -> None:
        """A model may leave that was kept until now."""
        self._next_leave_s = now

    def is_missing(self, model: str) -> bool:
        """Whether a model that was to be there from the start is not; one that left again is not missed."""
        was_asked_to_leave = model in self._were_ready and model not in self._residents
        return not was_asked_to_leave and self.worker(model) is None

    def unload(self, model: str, now: float) -> bool:
        """Take a model out of memory; False when it is not there."""
        resident = self._residents.get(model)
        if resident is None:
            return False
        process = self.process(resident)
        if process is None or resident.phase != "process":
            del self._residents[model]
            return True
        self._supervisor.stop(process, now)
        if not process.is_live:
            self.gone(model)
        return True

    def gone(self, model: str) -> None:
        """The worker has ended as it was told; a model that is wanted anew stays."""
        resident = self._residents.get(model)
        if resident and resident.phase == "process":
            del self._residents[model]

    def is_pinned(self, model: str) -> bool:
        """Whether only an administrator takes it out of memory."""
        return self._retention.is_pinned(model)

    def process(self, resident: Resident) -> Process | None:
        """The resident's worker."""
        return self._supervisor.get(resident.worker_name)

    def is_leaving(self, resident: Resident) -> bool:
        """Whether its worker ends because somebody wished so."""
        process = self.process(resident)
        return process is not None and process.state == "stopping" and not process.fault

    def worker(self, model: str) -> tuple[Process, Ready] | None:
        """The worker of *model* and what it said of itself, if it answers requests."""
        resident = self._residents.get(model)
        process = self.process(resident) if resident else None
        if process is None or process.state != "ready" or process.info is None:
            return None
        return process, process.info

    def state(self, model: ModelInfo) -> tuple[ModelState, str]:
        """Where a model of the catalog is, and what is wrong with it."""
        error = self._errors[model.name][0].message if model.name in self._errors else ""
        resident = self._residents.get(model.name)
        if resident is None:
            return ("failed", error) if error else (model.state, model.error)
        process = self.process(resident)
        if process is None:
            return "preparing", error
        match process.state:
            case "starting" | "loading":
                return "loading", process.error
            case "ready":
                return "ready", ""
            case "stopping":
                return "draining", ""
            case "crash-looped":
                return "crash-looped", process.error
            case _:
                return "backoff", process.error

    def failures(self, now: float) -> Iterator[tuple[str, MlxdError, float, float]]:
        """Models that could not be loaded: why, how long ago, and how long until another try (s)."""
        for model, (error, failed_s) in self._errors.items():
            age_s = now - failed_s
            yield model, error, age_s, max(0.0, self._settings.failed_retry_s - age_s)

    def is_changed(self, model: ModelInfo) -> bool:
        """Whether the files of a model in memory are others by now."""
        resident = self._residents.get(model.name)
        return (
            resident is not None
            and bool(resident.fingerprint and model.fingerprint)
            and resident.fingerprint != model.fingerprint
        )

    def unavailable(self, model: str, now: float) -> MlxdError | None:
        """Why a request for *model* should not wait: it could not be loaded, or crashes again and again."""
        if model in self._errors:
            error, failed_s = self._errors[model]
            return error if now - failed_s < self._settings.failed_retry_s else None
        resident = self._residents.get(model)
        process = self.process(resident) if resident else None
        if process and process.state == "crash-looped":
            retry_after_s = max(0.0, (process.deadline_s or now) - now)
            reason = redacted(process.error)
            return ModelUnavailable(
                f"{model}: its worker ends again and again ({reason}); it is tried again in "
                f"{retry_after_s:.0f} s; `mlxd load {model}` tries at once",
                retry_after_s=retry_after_s,
            )
        return None

    def check(self) -> None:
        """Raise AssertionError if nobody looks when the time of an idle model is over."""
        for resident in self:
            due_s = max(self._leaves_s(resident), self._looked_s + RECHECK_S)
            if self._is_idle(resident) and not self._is_shut and due_s < self._next_leave_s:
                raise AssertionError(f"{resident.name} is idle, and nobody looks when its time is over")

    def _leaves_s(self, resident: Resident) -> float:
        return resident.used_s + self._retention.idle_s(resident.name, resident.keep_alive_s)

    def _is_idle(self, resident: Resident) -> bool:
        """Whether it could leave without anybody noticing; one that leaves already could not."""
        if resident.phase != "process" or self.is_leaving(resident):
            return False
        # One that loads is let finish: two models that evict each other would never be loaded.
        return not self._is_loading(resident) and not self._is_busy(resident.name)

    def _is_loading(self, resident: Resident) -> bool:
        process = self.process(resident)
        return resident.phase == "preparing" or (
            process is not None and process.state in ("starting", "loading")
        )
