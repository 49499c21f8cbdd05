"""Wished against actual processes: start, hello, liveness, restart, kill ladder.

Knows processes by name, not what they serve. Effects leave as actions.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from kernel.actions import Emit, Kill, Log, Send, Spawn
from kernel.restarts import RestartPolicy
from transports.frames import parcel
from transports.loading import Ready, Unload
from transports.messages import Drain, Hello, Pong, Role
from transports.settings import KernelSettings

# starting: no hello yet. loading: a worker that was told to load. stopping: on the kill ladder.
# backoff: down, will be started again. crash-looped: the same after many crashes and a long wait.
# stopped: down for good.
State = Literal["starting", "loading", "ready", "stopping", "backoff", "crash-looped", "stopped"]
# Between SIGTERM and SIGKILL when everything must end now.
LAST_MOMENT_S = 0.5
LIVE_STATES: tuple[State, ...] = ("starting", "loading", "ready", "stopping")


@dataclass(slots=True)
class Process:
    """A process that the kernel wishes to have, or has."""

    name: str
    role: Role
    kind: str
    # "" for a frontend.
    model: str
    policy: RestartPolicy
    state: State = "stopped"
    pid: int = 0
    peer: str = ""
    token: str = ""
    address: str = ""
    info: Ready | None = None
    # When it entered its state, became ready, and was last seen to live and to work.
    since_s: float = 0.0
    ready_s: float | None = None
    heard_s: float = 0.0
    progress_s: float = 0.0
    pong: Pong = field(default_factory=Pong)
    # Why it is on the kill ladder although it is wished for; "" if it is not.
    fault: str = ""
    # Whether that is for standing still, and not for what it said or for leaving.
    is_hung: bool = False
    # Next rung of the kill ladder, or the restart.
    deadline_s: float | None = None
    next_signal: Literal["term", "kill", ""] = ""
    # Why it ended the last time, and what it wrote on stderr before.
    error: str = ""
    last_words: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether the process exists or is being made."""
        return self.state in LIVE_STATES

    @property
    def is_down(self) -> bool:
        """Whether it does not exist and is to be started again at `deadline_s`."""
        return self.state in ("backoff", "crash-looped")

    def retry_in_s(self, now: float) -> float | None:
        """Until it is started again, seconds; None while it is not down."""
        return max(0.0, self.deadline_s - now) if self.is_down and self.deadline_s is not None else None


class Supervisor:
    """All processes of the kernel, by name."""

    def __init__(self, settings: KernelSettings, emit: Emit, random: Random) -> None:
        self._settings = settings
        self._emit = emit
        self._random = random
        self._processes: dict[str, Process] = {}
        # Frontends that end do not come back: the kernel drains.
        self._are_frontends_leaving = False

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self._processes.values()))

    def get(self, name: str) -> Process | None:
        """The process of that name, if it is wished for or still there."""
        return self._processes.get(name)

    def start(self, name: str, role: Role, kind: str, model: str, now: float) -> Process:
        """Wish for a process; it is started now."""
        process = Process(name, role, kind, model, RestartPolicy(self._settings, self._random))
        self._processes[name] = process
        self._spawn(process, now)
        return process

    def spawned(self, name: str, pid: int) -> None:
        """The process exists."""
        if process := self._processes.get(name):
            process.pid = pid

    def hello(self, peer: str, hello: Hello, now: float) -> Process | None:
        """The process that this hello comes from: the one that was given its token, which is then used up."""
        # As bytes: compare_digest refuses text that is not ASCII.
        given = hello.token.encode()
        for process in self._processes.values():
            # A worker must not become a frontend, which may end the kernel.
            if process.state != "starting" or process.role != hello.role:
                continue
            if secrets.compare_digest(process.token.encode(), given):
                process.token = secrets.token_urlsafe(16)
                process.peer = peer
                process.address = hello.address
                process.heard_s = now
                self._enter(process, "loading", now)
                if process.role == "frontend":
                    self.ready(process, None, now)
                return process
        return None

    def ready(self, process: Process, info: Ready | None, now: float) -> None:
        """The process does what it is for."""
        process.info = info
        process.error = ""
        process.ready_s = now
        self._enter(process, "ready", now)

    def heard(self, process: Process, now: float) -> None:
        """A sign of life."""
        process.heard_s = now

    def progressed(self, process: Process, pong: Pong, oldest_s: float | None, now: float) -> None:
        """The worker told how far it is.

        Args:
            process: The worker.
            pong: What it told.
            oldest_s: When the first of the requests that it has was given to it; None if it has none.
            now: Monotonic seconds.
        """
        if pong.progress != process.pong.progress or pong.num_active == 0 < process.pong.num_active:
            process.progress_s = now
        if process.state == "ready" and process.pong.num_active == 0:
            # Idle until now: the clock starts with the work. A load is work without requests.
            process.progress_s = now
        process.pong = pong
        # It would have told of the end before it told of idleness: nobody else will end the request.
        if not pong.num_active and oldest_s is not None and now - oldest_s >= self._settings.hung_after_s:
            self.fail(process, "it is idle and has not ended a request", now, is_hung=True)

    def stop(self, process: Process, now: float) -> None:
        """Wish no more for a process: ask it to end, and make it if it does not."""
        if process.is_down:
            del self._processes[process.name]
            self._enter(process, "stopped", now)
            return
        if process.state == "stopping":
            process.fault = ""
            return
        ask = Unload() if process.role == "worker" else Drain()
        kind: Literal["unload", "drain"] = "unload" if process.role == "worker" else "drain"
        if process.peer:
            self._emit(Send(process.peer, parcel(kind, ask)))
            process.next_signal = "term"
            process.deadline_s = now + self._settings.stop_timeout_s
        else:
            self._emit(Kill(process.name, "term"))
            process.next_signal = "kill"
            process.deadline_s = now + self._settings.kill_timeout_s
        self._enter(process, "stopping", now, keep_deadline=True)

    def let_frontends_leave(self, now: float) -> None:
        """Wish no more for frontends, and leave it to them when they end."""
        self._are_frontends_leaving = True
        for process in self:
            if process.role == "frontend" and process.is_down:
                self.stop(process, now)

    def fail(self, process: Process, fault: str, now: float, *, is_hung: bool = False) -> None:
        """End a process at once that must not go on; it is started again by the rules."""
        if process.state == "stopping" or process.is_down:
            return
        process.fault = fault
        process.is_hung = is_hung
        self._emit(Kill(process.name, "kill"))
        process.next_signal = "kill"
        process.deadline_s = now + self._settings.kill_timeout_s
        self._enter(process, "stopping", now, keep_deadline=True, reason=fault)

    def end_all(self, now: float) -> None:
        """End everything now: workers are killed, frontends get a moment to tell their clients."""
        for process in self:
            if not process.is_live:
                del self._processes[process.name]
                continue
            process.fault = ""
            self._emit(Kill(process.name, "kill" if process.role == "worker" else "term"))
            process.next_signal = "kill"
            process.deadline_s = now + LAST_MOMENT_S
            self._enter(process, "stopping", now, keep_deadline=True)

    def retry_now(self, process: Process, now: float) -> None:
        """Do not wait any longer with a restart."""
        if process.is_down:
            process.deadline_s = now

    def exited(self, name: str, reason: str, last_words: tuple[str, ...], now: float) -> Process | None:
        """A process ended. It is forgotten if nobody wished for it, else it comes back by the rules."""
        process = self._processes.get(name)
        if process is None:
            return None
        is_leaving = self._are_frontends_leaving and process.role == "frontend"
        was_wished = not is_leaving and (process.state != "stopping" or process.fault != "")
        process.error = process.fault or reason
        process.last_words = last_words
        process.fault, process.is_hung = "", False
        process.pid, process.peer, process.info, process.pong = 0, "", None, Pong()
        if not was_wished:
            del self._processes[name]
            self._enter(process, "stopped", now)
            return process
        delay_s = process.policy.crashed(now, process.ready_s)
        state: State = "crash-looped" if process.policy.is_crash_looped else "backoff"
        self._enter(process, state, now, reason=process.error, restart_in_s=round(delay_s, 2))
        process.deadline_s = now + delay_s
        return process

    def give_up(self, process: Process) -> None:
        """Do not start a process again that cannot work."""
        self._processes.pop(process.name, None)

    def tick(self, now: float) -> None:
        """Restarts, start timeouts, liveness and the kill ladder."""
        for process in self:
            match process.state:
                case "backoff" | "crash-looped" if (
                    process.deadline_s is not None and process.deadline_s <= now
                ):
                    self._spawn(process, now)
                case "starting" if now - process.since_s >= self._settings.start_timeout_s:
                    self.fail(
                        process, f"no hello within {self._settings.start_timeout_s:g} s", now, is_hung=True
                    )
                case "loading" | "ready":
                    self._check_alive(process, now)
                case "stopping" if process.deadline_s is not None and process.deadline_s <= now:
                    self._climb(process, now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next, apart from liveness, which the heartbeat drives."""
        deadlines = [p.deadline_s for p in self._processes.values() if p.deadline_s is not None]
        starting = [
            p.since_s + self._settings.start_timeout_s
            for p in self._processes.values()
            if p.state == "starting"
        ]
        return min(deadlines + starting, default=None)

    def _spawn(self, process: Process, now: float) -> None:
        process.token = secrets.token_urlsafe(16)
        process.address = ""
        process.ready_s = None
        self._enter(process, "starting", now)
        self._emit(Spawn(process.name, process.role, process.kind, process.token, process.model))

    def _enter(
        self,
        process: Process,
        state: State,
        now: float,
        *,
        keep_deadline: bool = False,
        reason: str = "",
        **fields: object,
    ) -> None:
        """Change the state of a process; a *reason* is for what nobody wished."""
        told = {"name": process.name, "state": state, "was": process.state, **fields}
        if reason:
            self._emit(Log("error", "process_changed", {**told, "reason": reason}))
        else:
            self._emit(Log("info", "process_changed", told))
        process.state = state
        process.since_s = process.progress_s = now
        if not keep_deadline:
            process.deadline_s = None

    def _check_alive(self, process: Process, now: float) -> None:
        settings = self._settings
        if now - process.heard_s >= settings.dead_after_s:
            self.fail(process, f"no sign of life for {settings.dead_after_s:g} s", now, is_hung=True)
            return
        if process.state == "loading":
            limit_s, what = settings.load_stalled_after_s, "while it loaded"
        elif process.pong.num_prefilling:
            limit_s, what = settings.prefill_hung_after_s, "while it read a prompt"
        elif process.pong.num_active:
            limit_s, what = settings.hung_after_s, "while it decoded"
        else:
            return
        if now - process.progress_s >= limit_s:
            self.fail(process, f"no progress for {limit_s:g} s {what}", now, is_hung=True)

    def _climb(self, process: Process, now: float) -> None:
        if not process.next_signal:
            return
        self._emit(Kill(process.name, process.next_signal))
        process.next_signal = "kill"
        process.deadline_s = now + self._settings.kill_timeout_s
