"""Work beside the loop: environments, downloads and imports, each with progress and one end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from kernel.actions import RunJob
from kernel.catalog import Catalog, fingerprint
from kernel.environments import Environments
from kernel.events import Event, JobEnded, JobProgressed, Prepared, PrepareFailed, PrepareProgressed
from kernel.hub_cache import hub_folder
from kernel.plugin_list import list_plugins
from kernel.provision import IMPORTER, import_file, provision, provision_folder
from kernel.pull import PULLER, Source, pull
from kernel.removal import remove
from kernel.worker_kinds import WorkerKinds
from transports.envelope import Message
from transports.errors import EnvironmentFailed, MlxdError, ModelNotFound, RequestError
from transports.logs import get_logger
from transports.messages import Progress
from transports.reports import DoneReply, EnvironmentsReply, ModelsReply, PluginsReply, RemovedReply
from transports.settings import Settings

# Progress goes to every client that waits; more often than this nobody can read it.
MIN_PROGRESS_INTERVAL_S = 0.2

OnProgress = Callable[[Progress], None]

log = get_logger()


class Jobs:
    """Runs what takes seconds or minutes; events about it go to *on_event*."""

    def __init__(
        self,
        home: Path,
        settings: Settings,
        kinds: WorkerKinds,
        environments: Environments,
        catalog: Catalog,
        on_event: Callable[[Event], None],
    ) -> None:
        self._home = home
        self._settings = settings
        self._kinds = kinds
        self._environments = environments
        self._catalog = catalog
        self._on_event = on_event
        self._tasks: set[asyncio.Task[None]] = set()
        # An administrator's, by the action's id.
        self._jobs: dict[str, asyncio.Task[None]] = {}

    def prepare(self, model: str) -> None:
        """Build the model's environment and fetch its files."""
        self._start(self._prepare(model))

    def run(self, action: RunJob) -> None:
        """Do an administrator's operation."""
        task = self._start(self._run(action))
        self._jobs[action.job] = task
        task.add_done_callback(lambda _: self._jobs.pop(action.job, None))

    def cancel(self, job: str) -> None:
        """Stop an operation; programs that it started are killed, and no event follows."""
        if task := self._jobs.get(job):
            task.cancel()

    async def close(self) -> None:
        """Cancel what runs; programs that it started are killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _prepare(self, model: str) -> None:
        on_progress = _seldom(lambda progress: self._on_event(PrepareProgressed(model, progress)))
        try:
            async with asyncio.timeout(self._settings.models.prepare_timeout_s):
                path = await self._path_of(model, on_progress)
                mark = await asyncio.to_thread(fingerprint, path)
        except TimeoutError:
            limit_s = self._settings.models.prepare_timeout_s
            error = EnvironmentFailed(f"{model}: not ready after {limit_s:g} s (models.prepare_timeout_s)")
            self._on_event(PrepareFailed(model, error))
        except MlxdError as e:
            self._on_event(PrepareFailed(model, e))
        except Exception as e:
            log.exception("prepare_failed", model=model)
            self._on_event(PrepareFailed(model, EnvironmentFailed(f"{model}: {type(e).__name__}: {e}")))
        else:
            self._on_event(Prepared(model, str(path), mark))

    async def _path_of(self, model: str, on_progress: OnProgress) -> Path:
        # Not what was there when somebody last looked: a load takes what is there now.
        await asyncio.to_thread(self._catalog.scan)
        entry = self._catalog.entry(model)
        if entry is None:
            raise ModelNotFound(f"{model}: not in the catalog any more")
        await self._environments.ensure(entry.kind, on_progress, model)
        if entry.demo is None:
            return Path(entry.path)
        if entry.demo.is_folder:
            return await provision_folder(entry.demo, self._home, on_progress)
        importer = await self._environments.with_tool(IMPORTER, on_progress)
        return await provision(entry.demo, self._home, *importer, on_progress)

    async def _run(self, action: RunJob) -> None:
        on_progress = _seldom(lambda progress: self._on_event(JobProgressed(action.job, progress)))
        result: Message | MlxdError
        try:
            result = await self._operation(action, on_progress)
        except MlxdError as e:
            result = e
        except Exception as e:
            log.exception("job_failed", operation=action.operation)
            result = MlxdError(f"{action.operation}: {type(e).__name__}: {e}")
        self._on_event(JobEnded(action.job, result))

    async def _operation(self, action: RunJob, on_progress: OnProgress) -> Message:
        match action.operation:
            case "envs.list":
                return EnvironmentsReply(environments=self._environments.list())
            case "envs.sync":
                environments = await self._environments.sync(action.name or None, on_progress)
                return EnvironmentsReply(environments=environments)
            case "envs.rollback":
                environments = await self._environments.roll_back(action.name, on_progress)
                return EnvironmentsReply(environments=environments)
            case "envs.rm":
                await self._environments.remove(action.name)
                return EnvironmentsReply(environments=self._environments.list())
            case "plugins.list":
                environments = self._environments.list()
                plugins = await asyncio.to_thread(list_plugins, self._kinds, environments)
                return PluginsReply(plugins=plugins)
            case "models.import":
                return await self._import(action, on_progress)
            case "models.pull":
                return await self._pull(action, on_progress)
            case "models.rm":
                return await self._remove(action)
            case _:
                return DoneReply()

    async def _import(self, action: RunJob, on_progress: OnProgress) -> Message:
        importer = await self._environments.with_tool(IMPORTER, on_progress)
        name = await import_file(Path(action.name), action.model, self._home, *importer, on_progress)
        await asyncio.to_thread(self._catalog.scan)
        entry = self._catalog.entry(name)
        return ModelsReply(models=() if entry is None else (entry.info(),))

    async def _pull(self, action: RunJob, on_progress: OnProgress) -> Message:
        if not self._settings.models.hub_cache:
            raise RequestError("models.pull: needs models.hub_cache = true: models of a hub go to its cache")
        source = Source.of(action.model, action.name)
        puller = await self._environments.with_tool(PULLER, on_progress)
        snapshot = await pull(
            source,
            hub_folder(),
            *puller,
            on_progress,
            timeout_s=self._settings.models.pull_timeout_s,
        )
        entries = await asyncio.to_thread(self._catalog.scan)
        return ModelsReply(models=tuple(entry.info() for entry in entries if entry.path == str(snapshot)))

    async def _remove(self, action: RunJob) -> Message:
        entry = self._catalog.entry(action.model)
        if entry is None:
            raise ModelNotFound(f"{action.model}: not in the catalog any more")
        return RemovedReply(freed_bytes=await remove(entry, self._home / "models", hub_folder()))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _seldom(on_progress: OnProgress) -> OnProgress:
    """Pass on a change of phase at once, and numbers within a phase only so often."""
    last_phase, last_s = "", 0.0

    def pass_on(progress: Progress) -> None:
        nonlocal last_phase, last_s
        now = time.monotonic()
        if progress.phase == last_phase and now - last_s < MIN_PROGRESS_INTERVAL_S:
            return
        last_phase, last_s = progress.phase, now
        on_progress(progress)

    return pass_on
