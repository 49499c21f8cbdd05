"""The virtual environment of each worker kind, named by the hash of its lock file; docs/adr/0004 says why.

Used from the kernel's loop. Building and testing is in `environment_build.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
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
from kernel.isolation import package_dir
from transports.errors import EnvironmentFailed, NotFound
from transports.messages import Progress
from transports.reports import EnvironmentInfo

# Worker kind -> its folder in `workers` with a requirements.lock; None runs in the kernel's own Python.
KINDS: dict[str, str | None] = {"echo": None, "text": "text", "vision": "vision"}


def default_locks() -> dict[str, Path | None]:
    """Worker kind -> its lock file, for all kinds that there are."""
    workers = package_dir("workers")
    return {
        kind: workers / folder / "requirements.lock" if folder else None for kind, folder in KINDS.items()
    }


class Environments:
    """The environments below `<home>/envs`.

    Args:
        home: MLXD_HOME.
        link_dir: From `isolation.make_link_dir`; the PYTHONPATH of the tests that an environment must pass.
        locks: Worker kind -> lock file.
        timeout_s: For one build, and for the wait for another process's build.
    """

    def __init__(
        self,
        home: Path,
        link_dir: Path,
        *,
        locks: Mapping[str, Path | None] | None = None,
        timeout_s: float = 1800.0,
    ) -> None:
        self._root = home / "envs"
        self._link_dir = link_dir
        self._locks = dict(default_locks() if locks is None else locks)
        self._names = {kind: environment_name(kind, lock) for kind, lock in self._locks.items() if lock}
        self._timeout_s = timeout_s
        self._building: set[str] = set()
        # Kind -> why its last build or test failed.
        self._errors: dict[str, str] = {}

    def kinds(self) -> tuple[str, ...]:
        """All worker kinds."""
        return tuple(self._locks)

    def python(self, kind: str) -> Path | None:
        """The interpreter for workers of *kind*; None while their environment is not ready."""
        if self._lock_of(kind) is None:
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

    async def sync(self, kind: str | None, on_progress: OnProgress) -> tuple[EnvironmentInfo, ...]:
        """Build what is missing and rebuild what fails its test, of one kind or all."""
        for one in [*self._names] if kind is None else [kind]:
            if self._lock_of(one) is None:
                continue
            async with self._alone(one, on_progress):
                on_progress(Progress(phase="environment", detail=f"testing {self._names[one]}"))
                if self.python(one) is None or await smoke(one, self._path(one), self._link_dir):
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
        lock = self._lock_of(kind)
        if lock is None:
            raise EnvironmentFailed(f"kind {kind!r} has no lock file to build from")
        self._building.add(kind)
        try:
            await build(
                kind,
                lock,
                self._path(kind),
                self._link_dir,
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

    def _lock_of(self, kind: str) -> Path | None:
        try:
            return self._locks[kind]
        except KeyError:
            raise NotFound(f"worker kind {kind!r}: not known; there are: {', '.join(self._locks)}") from None


def _size(path: Path) -> int:
    try:
        return msgspec.json.decode((path / MARKER).read_bytes(), type=Marker).size_bytes
    except (OSError, msgspec.DecodeError):
        return 0
