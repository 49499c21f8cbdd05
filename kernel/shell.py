"""The kernel's thin shell: sockets, timers and processes become events, actions become effects."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, assert_never

import msgspec
import zmq

from kernel.actions import (
    Action,
    CancelJob,
    Disconnect,
    Exit,
    Kill,
    Log,
    MakeFolder,
    Measure,
    Prepare,
    RemoveFolder,
    RunJob,
    ScanCatalog,
    Send,
    Spawn,
)
from kernel.broker import Broker
from kernel.catalog import Catalog
from kernel.commands import Launcher
from kernel.events import (
    CatalogScanned,
    Event,
    MalformedReceived,
    Measured,
    MessageReceived,
    PeerUnreachable,
    ProcessExited,
    StopRequested,
    TimePassed,
)
from kernel.gauge import Gauge
from kernel.jobs import Jobs
from kernel.outcasts import Outcasts
from kernel.processes import Processes
from kernel.shared_folder import SharedFolder
from transports.admission import bind_admission
from transports.errors import MlxdError
from transports.frames import Frame, as_buffer, join, split
from transports.logs import get_logger
from transports.settings import Settings
from transports.sockets import DrainedSocket, bind_router

log = get_logger()

# sysexits.h: EX_SOFTWARE.
EXIT_INTERNAL_ERROR = 70
# For the ends of the last requests to leave.
LAST_WORDS_LINGER_MS = 200


class Shell:
    """Runs a broker until it says exit."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        endpoint: str,
        catalog: Catalog,
        shared: SharedFolder,
        launcher: Launcher,
        gauge: Gauge,
        make_jobs: Callable[[Callable[[Event], None]], Jobs],
        make_processes: Callable[[Callable[[Event], None]], Processes],
    ) -> None:
        """Bind the socket; nothing runs before `run`.

        Raises:
            zmq.ZMQError: The socket cannot be bound.
        """
        self._settings = settings
        self._broker = broker
        self._catalog = catalog
        self._shared = shared
        self._launcher = launcher
        self._jobs = make_jobs(self.feed)
        self._processes = make_processes(self.feed)
        self._gauge = gauge
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._scanned = CatalogScanned(())
        self._outcasts = Outcasts(settings.kernel.cut_off_s)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._admission = bind_admission(self._context, self._admits)
        self._socket: DrainedSocket = bind_router(
            self._context,
            endpoint,
            self._on_frames,
            # Once for all messages that came together, and after their effects.
            on_drained=self._set_timer,
            max_frame_bytes=settings.kernel.max_frame_bytes,
            max_unsent=settings.kernel.max_unsent,
        )

    async def run(self) -> int:
        """Live until the broker says exit; the exit code."""
        self._do_all(self._broker.start(time.monotonic()))
        self._set_timer()
        try:
            return await self._exit
        finally:
            await self._jobs.close()
            await self._processes.close()
            self._has_ended = True
            self._socket.close(LAST_WORDS_LINGER_MS)
            self._admission.close()
            self._context.term()

    def stop(self, *, now: bool = False) -> None:
        """A signal came, or our parent went."""
        self.feed(StopRequested(now))

    def feed(self, event: Event) -> None:
        """Give the broker an event and do what it says."""
        if self._has_ended:  # Timers and tasks of the last moment; there is no socket any more.
            return
        self._handle(event)
        self._set_timer()

    def _handle(self, event: Event) -> None:
        """As `feed`; effects may cause further events. Deadlines are looked at later."""
        self._events.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._events:
                self._do_all(self._broker.handle(self._events.popleft(), time.monotonic()))
        except Exception:
            # Nobody can say what state it is in. Everything ends with us, and everybody notices.
            log.exception("kernel_failed", on=type(event).__name__)
            self._exit_with(EXIT_INTERNAL_ERROR)
            return
        finally:
            self._is_handling = False

    def _admits(self, origin: str) -> bool:
        """Whether a process may connect; one that the system does not name may: "" is never out."""
        return not self._outcasts.is_out(origin, time.monotonic())

    # --- events ---------------------------------------------------------------------------------

    def _on_frames(self, frames: list[Frame]) -> None:
        identity, *rest = frames
        # Latin-1 has a character for each byte: every identity can be answered, no two are confused.
        peer = bytes(as_buffer(identity)).decode("latin-1")
        origin = self._socket.sender_origin()
        if self._outcasts.is_out(origin or peer, now := time.monotonic()):
            if self._outcasts.must_go(peer, now):
                self._socket.disconnect_sender()
            return
        try:
            message = split(rest, self._settings.kernel.max_frames)
        except MlxdError as e:
            self._handle(MalformedReceived(peer, e, origin))
        else:
            self._handle(MessageReceived(peer, message, origin))

    def _set_timer(self) -> None:
        due_s = self._broker.next_deadline()
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return  # It looks at the new deadline when it fires.
            self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.feed(TimePassed())

    # --- actions --------------------------------------------------------------------------------

    def _do_all(self, actions: list[Action]) -> None:
        for action in actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Send(peer, message):
                try:
                    self._socket.send([peer.encode("latin-1"), *join(message)])
                except (MlxdError, UnicodeEncodeError) as e:
                    self._events.append(PeerUnreachable(peer, str(e)))
            case MakeFolder(peer):
                self._shared.add(peer)
            case RemoveFolder(peer):
                if folder := self._shared.drop(peer):
                    self._start(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
            case Spawn():
                self._spawn(action)
            case Kill(name, signal):
                self._processes.kill(name, signal)
            case Prepare(model):
                self._jobs.prepare(model)
            case ScanCatalog():
                self._start(self._scan())
            case RunJob():
                self._jobs.run(action)
            case CancelJob(job):
                self._jobs.cancel(job)
            case Measure():
                self._start(self._measure(action))
            case Disconnect(peer, origin):
                self._outcasts.add(peer, origin, time.monotonic())
            case Log(level, event, fields):
                getattr(log, level)(event, **fields)
            case Exit(code):
                self._exit_with(code)
            case _:
                assert_never(action)

    def _spawn(self, action: Spawn) -> None:
        try:
            launch = self._launcher.launch(action)
        except MlxdError as e:
            self._events.append(ProcessExited(action.name, None, (e.message,)))
            return
        self._processes.spawn(action.name, launch.command, launch.env, launch.cwd, launch.bootstrap)

    async def _scan(self) -> None:
        try:
            entries = await asyncio.to_thread(self._catalog.scan)
            found = tuple(entry.info() for entry in entries)
            self._scanned = CatalogScanned(found, {entry.name: entry.sizes for entry in entries})
        except Exception as e:  # Those who wait for it get what was seen the last time.
            log.exception("scan_failed")
            reason = e.strerror if isinstance(e, OSError) else type(e).__name__
            self._scanned = msgspec.structs.replace(self._scanned, error=reason or str(e))
        self.feed(self._scanned)

    async def _measure(self, action: Measure) -> None:
        try:
            found = await asyncio.to_thread(self._gauge.measure, action.pids, action.gpu_pids)
        except Exception:  # Those who wait for it are told what is known without.
            log.exception("measure_failed")
            found = Measured()
        self.feed(found)

    def _exit_with(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
