"""The mlxd that is tormented: its home, its processes, and which of its faults explain what a client saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from chaos_outcome import Outcome, Violation

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports import rundir
from transports.errors import Forbidden, KernelUnavailable, MlxdError
from transports.reports import Admin, DoneReply, StatusReply
from transports.settings import HttpSettings, KernelSettings, Settings

# No fault is aimed at it: what is asked of it must be answered while kernel and frontend live.
CALM = "echo/calm"
MODELS: dict[str, dict[str, object]] = {
    CALM: {"step_s": 0.01},
    "echo/slow": {"step_s": 0.01},
    "echo/narrow": {"step_s": 0.01, "num_slots": 1},
    "echo/heavy": {"step_s": 0.01, "load_s": 0.3},
    "echo/faulty": {"step_s": 0.005, "faults": True},
    "echo/broken": {"step_s": 0.005, "faults": True},
    "echo/eyes": {"modalities": ["text", "image"]},
}
# Everything that takes minutes in production, in seconds.
SETTINGS = KernelSettings(
    frontends=("http",),
    heartbeat_s=0.25,
    dead_after_s=6.0,
    hung_after_s=4.0,
    prefill_hung_after_s=4.0,
    max_queued_s=20.0,
    stop_timeout_s=1.0,
    kill_timeout_s=1.0,
    drain_timeout_s=5.0,
    restart_first_delay_s=0.05,
    restart_max_delay_s=1.0,
    crash_window_s=5.0,
    failed_retry_s=1.0,
    crash_loop_retry_s=2.0,
    max_models=5,
)
# Of children of a killed kernel, on a busy machine.
ORPHAN_TIMEOUT_S = 10.0
# From a kill to a kernel whose frontend listens.
START_TIMEOUT_S = 30.0
# What a fault at the end of a request may still do to the next one: a model that is loaded again.
AFTERMATH_S = 1.0


@dataclass
class Disturbance:
    """A fault, and whom it may concern."""

    # A model, "frontend" (and what goes through it) or "kernel" (everything).
    scope: str
    began_s: float
    # None: not over yet.
    ended_s: float | None = None

    def explains(self, outcome: Outcome) -> bool:
        """Whether the request may have failed for it."""
        concerns = self.scope in ("kernel", outcome.model) or (
            self.scope == "frontend" and outcome.client.startswith("http")
        )
        if outcome.end == "broken" and self.scope not in ("kernel", "frontend"):
            return False
        is_over = self.ended_s is not None and self.ended_s + AFTERMATH_S < outcome.began_s
        return concerns and not is_over and self.began_s <= outcome.ended_s


@dataclass
class World:
    """One kernel after another in one home, on one port."""

    home: Path
    port: int
    more_models: tuple[str, ...] = ()
    kernel: KernelSettings = SETTINGS
    # Real model -> what a request of it may need besides what one of an echo may, seconds.
    slowest_s: dict[str, float] = field(default_factory=dict)
    disturbances: list[Disturbance] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    num_kernels: int = 0
    began_s: float = field(default_factory=time.monotonic)

    @classmethod
    def make(cls, home: Path, more_models: tuple[str, ...] = ()) -> World:
        """Write the models into *home* and choose a free port."""
        for name, fields in MODELS.items():
            folder = home / "models" / name
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps({"model_type": "echo", **fields}))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return cls(home, probe.getsockname()[1], more_models)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    async def connect(self, client: type[KernelClient], kind: str) -> KernelClient:
        """A frontend of its own, as a command has one.

        Raises:
            KernelUnavailable: There is no kernel now.
            MlxdError: The kernel refused.
        """
        connection = rundir.read_connection(self.home)
        if connection is None:
            raise KernelUnavailable("no kernel runs")
        try:
            return await client.connect(connection.endpoint, connection.token, kind=kind)
        except Forbidden:
            # Right if that kernel ended after we had read how to reach it, and another took its place.
            if rundir.read_connection(self.home) == connection:
                raise
            raise KernelUnavailable("another kernel runs") from None

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began_s

    def note(self, what: str) -> None:
        """Write a line into the log of events."""
        self.log.append(f"{self.now_s():8.2f} {what}")

    # --- life and death -------------------------------------------------------------------------

    async def start(self) -> None:
        """Start a kernel; a command without one may have started its own, which then ends with its answer.

        Raises:
            Violation: It did not start in time.
        """
        limit_s = START_TIMEOUT_S + max(self.slowest_s.values(), default=0.0)
        settings = Settings(kernel=self.kernel, http=HttpSettings(port=self.port, write_timeout_s=3.0))
        try:
            async with asyncio.timeout(limit_s):
                self._process = await self._started(settings)
                self.num_kernels += 1
                self._client = await self.connect(KernelClient, "chaos")
                while not all(f.address for f in (await self.status()).frontends if f.supervised):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Violation(f"no kernel with a frontend within {limit_s:.0f} s") from None
        self.note(f"kernel {self.pid} started")

    async def _started(self, settings: Settings) -> KernelProcess:
        while True:
            try:
                return await KernelProcess.start(settings, self.home)
            except KernelUnavailable as e:
                if "running here already" not in e.message:
                    raise Violation(f"the kernel did not start: {e.message}") from None
                await asyncio.sleep(0.1)

    async def kill_kernel(self) -> None:
        """kill -9 the kernel, check that nothing of it is left, and start the next one."""
        with self.disturbed("kernel"):
            family = psutil.Process(self.pid).children(recursive=True)
            os.kill(self.pid, signal.SIGKILL)
            await self._process.wait()
            self._client.set_lost()
            left = await asyncio.to_thread(_survivors, family)
            if running := [_told(process) for process in left if not _is_stopped(process)]:
                raise Violation(f"orphans of a killed kernel: {running}")
            await self.start()
            # One that was stopped before it could hang itself on its parent is swept by the next kernel.
            if unswept := await asyncio.to_thread(_survivors, left):
                raise Violation(f"not swept: {[_told(process) for process in unswept]}")

    async def end(self) -> None:
        """End the kernel."""
        with contextlib.suppress(MlxdError):
            await self._client.close()
        self._process.end()
        await self._process.wait()

    # --- what there is --------------------------------------------------------------------------

    async def status(self) -> StatusReply:
        """What the kernel says of itself."""
        return await self._client.status()

    async def admin(self, operation: str, model: str, *, force: bool = False) -> None:
        """Load or unload a model; what the kernel says against it is its right."""
        with contextlib.suppress(MlxdError):
            await self._client.admin(operation, Admin(model=model, force=force), DoneReply)

    async def worker_pids(self) -> dict[str, int]:
        """Model -> pid, of the workers that live."""
        return {w.model: w.pid for w in (await self.status()).workers if w.pid}

    async def frontend_pid(self) -> int:
        """Of the HTTP frontend; 0 while there is none."""
        return next((f.pid for f in (await self.status()).frontends if f.supervised), 0)

    @property
    def shared_dir(self) -> Path:
        """Where frontends put pixels for workers."""
        return Path(self._client.welcome.shared_dir if self._client.welcome else "")

    # --- explanations ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def disturbed(self, scope: str) -> Iterator[None]:
        """What fails of *scope* while the block lasts, and a moment after, is explained."""
        disturbance = Disturbance(scope, time.monotonic())
        self.disturbances.append(disturbance)
        yield
        disturbance.ended_s = time.monotonic()

    def disturb(self, scope: str) -> None:
        """As `disturbed`, until the next time that everything is quiet."""
        self.disturbances.append(Disturbance(scope, time.monotonic()))

    def calmed(self) -> None:
        """Everything is quiet and works: no fault so far explains what comes."""
        self.disturbances.clear()

    def check(self, outcome: Outcome) -> None:
        """A request that ended badly had a reason to.

        Raises:
            Violation: It had none.
        """
        if outcome.end in ("done", "left") or any(d.explains(outcome) for d in self.disturbances):
            return
        raise Violation(f"an undisturbed request failed: {outcome}")


def _survivors(family: list[psutil.Process]) -> list[psutil.Process]:
    """Who is still there after a while; one that only waits to be reaped has ended."""
    _, left = psutil.wait_procs(family, ORPHAN_TIMEOUT_S)
    return [process for process in left if _told(process)]


def _told(process: psutil.Process) -> str:
    """The last words of its command; "" when it has ended."""
    try:
        return " ".join(process.cmdline()[-3:])
    except psutil.NoSuchProcess:
        return ""


def _is_stopped(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_STOPPED
    return True
