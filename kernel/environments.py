"""The virtual environment of each worker kind, named by the hash of its lock file; docs/adr/0004 says why.

Used from the kernel's loop. Building and testing is in `environment_build.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from kernel.environment_build import (
    BUILDING,
    MARKER,
    TRASH,
    Marker,
    OnProgress,
    build,
    environment_name,
    smoke,
)
from kernel.filelock import locked
from kernel.isolation import LinkDirs
from kernel.worker_kinds import WorkerKinds
from transports.errors import EnvironmentFailed, NotFound
from transports.messages import Progress
from transports.reports import EnvironmentInfo


class Environments:
    """The environments below `<home>/envs`.

    Args:
        home: MLXD_HOME.
        kinds: The worker kinds.
        links: Makes their PYTHONPATH.
        timeout_s: For one build, and for the wait for another process's build.
    """

    def __init__(self, home: Path, kinds: WorkerKinds, links: LinkDirs, *, timeout_s: float = 1800.0) -> None:
        self._root = home / "envs"
        self._kinds = kinds
        self._links = {kind.name: links.make(kind.name, kind.packages) for kind in kinds}
        self._names = {kind.name: environment_name(kind.name, kind.lock) for kind in kinds if kind.lock}
        self._timeout_s = timeout_s
        self._building: set[str] = set()
        # Kind -> why its last build or test failed.
        self._errors: dict[str, str] = {}

    def link_dir(self, kind: str) -> Path:
        """The PYTHONPATH of workers of *kind*."""
        return self._links[self._kinds[kind].name]

    def python(self, kind: str) -> Path | None:
        """The interpreter for workers of *kind*; None while their environment is not ready."""
        if self._kinds[kind].lock is None:
            return Path(sys.executable)
        path = self._path(kind)
        python = path / "bin" / "python"
        return python if (path / MARKER).is_file() and python.exists() else None

    def list(self) -> tuple[EnvironmentInfo, ...]:
        """The environments that should be there, and those of older lock files that still are."""
        wanted = [self._info(kind, self._path(kind)) for kind in self._names]
        stale = [
            self._info(path.name.rpartition("-")[0], path)
            for path in self._folders()
            if path.name not in self._names.values()
        ]
        return (*wanted, *stale)

    async def ensure(self, kind: str, on_progress: OnProgress) -> Path:
        """The interpreter for *kind*; its environment is built first if it is not ready.

        Raises:
            EnvironmentFailed: It could not be built; the message says why and what to do.
        """
        if ready := self.python(kind):
            return ready
        async with self._alone(kind, on_progress):
            # Another process may have built it while we waited.
            if self.python(kind) is None:
                await self._build(kind, on_progress)
        return self._path(kind) / "bin" / "python"

    async def with_tool(self, tool: str, on_progress: OnProgress) -> tuple[Path, Path]:
        """Interpreter and PYTHONPATH for a program of `workers` that needs a kind's libraries.

        Raises:
            EnvironmentFailed: As from `ensure`.
        """
        kind = self._kinds.with_tool(tool)
        return await self.ensure(kind, on_progress), self._links[kind]

    async def sync(self, kind: str | None, on_progress: OnProgress) -> tuple[EnvironmentInfo, ...]:
        """Build what is missing and rebuild what fails its test, of one kind or all."""
        for one in [*self._names] if kind is None else [kind]:
            if self._kinds[one].lock is None:
                continue
            async with self._alone(one, on_progress):
                on_progress(Progress(phase="environment", detail=f"testing {self._names[one]}"))
                if self.python(one) is None or await smoke(
                    self._kinds[one], self._path(one), self._links[one]
                ):
                    await self._build(one, on_progress)
                self._errors.pop(one, None)
        return self.list()

    async def remove(self, name_or_kind: str) -> None:
        """Delete an environment by its name, or the present one of a kind.

        Raises:
            NotFound: There is none of that name.
        """
        name = self._names.get(name_or_kind, name_or_kind)
        # Compared with what is there, never joined to a path.
        path = next((path for path in self._folders() if path.name == name), None)
        if path is None:
            there = ", ".join(path.name for path in self._folders()) or "none"
            raise NotFound(f"environment {name_or_kind!r}: not there; there are: {there}")
        async with self._alone(name, lambda _progress: None):
            # Gone for everybody at once; the files follow.
            trash = path.with_name(f"{TRASH}{name}-{secrets.token_hex(4)}")
            path.rename(trash)
            await asyncio.to_thread(shutil.rmtree, trash, ignore_errors=True)

    async def _build(self, kind: str, on_progress: OnProgress) -> None:
        self._building.add(kind)
        try:
            await build(
                self._kinds[kind],
                self._path(kind),
                self._links[kind],
                timeout_s=self._timeout_s,
                on_progress=on_progress,
            )
        except (EnvironmentFailed, OSError) as e:
            self._errors[kind] = str(e)
            advice = f"check the network, the index settings and the disk, then `mlxd envs sync {kind}`"
            raise EnvironmentFailed(f"environment {self._names[kind]}: {e}; {advice}") from e
        finally:
            self._building.discard(kind)
        self._errors.pop(kind, None)

    @contextlib.asynccontextmanager
    async def _alone(self, what: str, on_progress: OnProgress) -> AsyncIterator[None]:
        """Hold the lock of the folder, with what a crash left in it cleared away."""

        def on_wait() -> None:
            on_progress(Progress(phase="environment", detail=f"{what}: waiting for another build"))

        lock = locked(self._root / ".lock", timeout_s=self._timeout_s, on_wait=on_wait)
        try:
            await lock.__aenter__()
        except TimeoutError:
            raise EnvironmentFailed(
                f"{self._root}: another build holds it for {self._timeout_s:.0f} s"
            ) from None
        except OSError as e:
            raise EnvironmentFailed(
                f"{self._root}: {e.strerror}; set MLXD_HOME to a folder you can write to"
            ) from e
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(lock)
            for path in self._root.iterdir():
                if path.name.startswith((BUILDING, TRASH)):
                    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
            yield

    def _info(self, kind: str, path: Path) -> EnvironmentInfo:
        error = ""
        if path.name != self._names.get(kind):
            state = "stale"
        elif kind in self._building:
            state = "building"
        elif self.python(kind):
            state = "ready"
        else:
            state = "broken" if path.exists() else "missing"
            error = self._errors.get(kind, "")
        return EnvironmentInfo(
            kind=kind, state=state, name=path.name, path=str(path), size_bytes=_size(path), error=error
        )

    def _folders(self) -> tuple[Path, ...]:
        if not self._root.is_dir():
            return ()
        paths = (path for path in self._root.iterdir() if not path.name.startswith("."))
        return tuple(sorted(path for path in paths if path.is_dir()))

    def _path(self, kind: str) -> Path:
        return self._root / self._names[kind]


def _size(path: Path) -> int:
    try:
        return msgspec.json.decode((path / MARKER).read_bytes(), type=Marker).size_bytes
    except (OSError, msgspec.DecodeError):
        return 0
