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
from types import MappingProxyType

import msgspec

from kernel.environment_build import (
    BUILDING,
    MARKER,
    TRASH,
    Marker,
    OnProgress,
    build,
    smoke,
)
from kernel.environment_choice import EnvironmentChoice, Target, label_of
from kernel.isolation import LinkDirs
from kernel.worker_kinds import CUDA_SUFFIX, WorkerKinds
from transports.errors import EnvironmentFailed, NotFound
from transports.filelock import locked
from transports.messages import Progress
from transports.reports import EnvironmentInfo

NO_LOCKS: Mapping[str, Path] = MappingProxyType({})


class Environments:
    """The environments below `<home>/envs`.

    Args:
        home: MLXD_HOME.
        kinds: The worker kinds.
        links: Makes their PYTHONPATH.
        locks: The lock files of single models.
        timeout_s: For one build, and for the wait for another process's build.
    """

    def __init__(
        self,
        home: Path,
        kinds: WorkerKinds,
        links: LinkDirs,
        *,
        locks: Mapping[str, Path] = NO_LOCKS,
        timeout_s: float = 1800.0,
    ) -> None:
        self._root = home / "envs"
        self._kinds = kinds
        self._links = {kind.name: links.make(kind.name, kind.packages) for kind in kinds}
        self._choice = EnvironmentChoice(self._root, kinds, locks)
        self._timeout_s = timeout_s
        # By the names of environments; of the errors, those of their last build or test.
        self._building: set[str] = set()
        self._errors: dict[str, str] = {}

    def link_dir(self, kind: str) -> Path:
        """The PYTHONPATH of workers of *kind*."""
        return self._links[self._kinds[kind].name]

    def python(self, kind: str, model: str = "") -> Path | None:
        """The interpreter for workers of *kind* that serve *model*; None while it is not ready."""
        if self._kinds[kind].lock is None:
            return Path(sys.executable)
        return self._choice.used(kind, model).python

    def list(self) -> tuple[EnvironmentInfo, ...]:
        """The environments that should be there, and all others that are."""
        used = [self._choice.used(kind) for kind in self._choice.kinds]
        names = {target.name for target in used}
        return (
            *(self._info(target.kind, target.path, self._state(target)) for target in used),
            *(self._other(path) for path in self._folders() if path.name not in names),
        )

    async def ensure(self, kind: str, on_progress: OnProgress, model: str = "") -> Path:
        """The interpreter for *model*; its environment is built first if it is not ready.

        Raises:
            EnvironmentFailed: It could not be built, or the kind cannot run here as the settings are; the
                message says why and what to do.
        """
        self._check_usable(kind)
        if ready := self.python(kind, model):
            return ready
        target = self._choice.used(kind, model)
        async with self._alone(target.name, on_progress):
            # Another process may have built it while we waited.
            if target.python is None:
                await self._build(target, on_progress)
        return target.path / "bin" / "python"

    async def with_tool(self, tool: str, on_progress: OnProgress) -> tuple[Path, Path]:
        """Interpreter and PYTHONPATH for a program of `workers` that needs a kind's libraries.

        Raises:
            EnvironmentFailed: As from `ensure`.
        """
        kind = self._kinds.with_tool(tool)
        return await self.ensure(kind, on_progress), self._links[kind]

    async def sync(self, kind: str | None, on_progress: OnProgress) -> tuple[EnvironmentInfo, ...]:
        """Build what is missing and rebuild what fails its test: of all kinds what is in use, or of one kind.

        One that was rolled back goes forward again when it is named, once its new environment works.
        """
        for one in self._choice.kinds if kind is None else [kind]:
            if self._kinds[one].lock is None:
                continue
            if kind is not None:
                self._check_usable(one)
            elif self._kinds[one].refusal:  # The list tells.
                continue
            target = self._choice.used(one) if kind is None else self._choice.declared(one)
            async with self._alone(target.name, on_progress):
                on_progress(Progress(phase="environment", detail=f"testing {target.name}"))
                if target.python is None or await self._smoke(target):
                    await self._build(target, on_progress)
                self._errors.pop(target.name, None)
                if kind is not None:
                    self._choice.go_forward(one)
        return self.list()

    async def roll_back(self, kind: str, on_progress: OnProgress) -> tuple[EnvironmentInfo, ...]:
        """Use the environment that was built before the one in use, if it passes its test.

        Workers that run keep the one that they have.

        Raises:
            NotFound: There is none.
            EnvironmentFailed: It fails its test; nothing was changed.
        """
        if self._kinds[kind].lock is None:
            raise NotFound(f"{kind}: runs in mlxd's own Python, and has no environment")
        async with self._alone(kind, on_progress):
            target = self._choice.earlier(kind)
            on_progress(Progress(phase="environment", detail=f"testing {target.name}"))
            if error := await self._smoke(target):
                raise EnvironmentFailed(f"{target.name} fails its test, nothing was changed: {error}")
            self._choice.roll_back(kind, target)
        return self.list()

    async def remove(self, name_or_kind: str) -> None:
        """Delete an environment by its name, or the present one of a kind.

        Raises:
            NotFound: There is none of that name.
        """
        is_kind = name_or_kind in self._choice.kinds
        name = self._choice.used(name_or_kind).name if is_kind else name_or_kind
        # Compared with what is there, never joined to a path.
        path = next((path for path in self._folders() if path.name == name), None)
        if path is None:
            there = ", ".join(path.name for path in self._folders()) or "none"
            raise NotFound(f"environment {name_or_kind!r}: not there; there are: {there}")
        async with self._alone(name, lambda _progress: None):
            # Gone for everybody at once; the files follow.
            trash = path.with_name(f"{TRASH}{name}-{secrets.token_hex(4)}")
            path.rename(trash)
            self._choice.forget(name)
            await asyncio.to_thread(shutil.rmtree, trash, ignore_errors=True)

    def _check_usable(self, kind: str) -> None:
        if refusal := self._kinds[kind].refusal:
            raise EnvironmentFailed(refusal)

    async def _build(self, target: Target, on_progress: OnProgress) -> None:
        self._building.add(target.name)
        try:
            await build(
                self._kinds[target.kind],
                target.lock,
                target.path,
                self._links[target.kind],
                timeout_s=self._timeout_s,
                on_progress=on_progress,
            )
        except (EnvironmentFailed, OSError) as e:
            self._errors[target.name] = str(e)
            advice = (
                f"check the network, the index settings and the disk, then `mlxd envs sync {target.kind}`"
            )
            if self._kinds[target.kind].gpu_uuid:
                advice += f'; {target.kind}.device = "cpu" does without the GPU'
            raise EnvironmentFailed(f"environment {target.name}: {e}; {advice}") from e
        finally:
            self._building.discard(target.name)
        self._errors.pop(target.name, None)

    async def _smoke(self, target: Target) -> str:
        return await smoke(self._kinds[target.kind], target.lock, target.path, self._links[target.kind])

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
                f"$MLXD_HOME/envs: another build holds it for {self._timeout_s:.0f} s"
            ) from None
        except OSError as e:
            raise EnvironmentFailed(
                f"$MLXD_HOME/envs: {e.strerror}; set MLXD_HOME to a folder you can write to"
            ) from e
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(lock)
            for path in self._root.iterdir():
                if path.name.startswith((BUILDING, TRASH)):
                    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
            yield

    def _state(self, target: Target) -> str:
        if target.name in self._building:
            return "building"
        if target.python and not self._kinds[target.kind].refusal:
            return "ready"
        return "broken" if target.path.exists() else "missing"

    def _other(self, path: Path) -> EnvironmentInfo:
        """One that serves no kind; it may serve a model, or be gone back or forward to."""
        label = label_of(path.name)
        kind = label if label in self._choice.kinds else label.removesuffix(CUDA_SUFFIX)
        if path.name in self._choice.names_in_use():
            return self._info(kind, path, "ready")
        if kind not in self._choice.kinds:
            return self._info(kind, path, "stale")
        if path.name == self._choice.declared(kind).name:
            return self._info(kind, path, "rolled-back")
        with contextlib.suppress(NotFound):
            if path.name == self._choice.earlier(kind).name:
                return self._info(kind, path, "previous")
        return self._info(kind, path, "stale")

    def _info(self, kind: str, path: Path, state: str) -> EnvironmentInfo:
        error = ""
        if state in ("broken", "missing"):
            error = self._errors.get(path.name, "") or self._kinds[kind].refusal
        return EnvironmentInfo(
            kind=kind, state=state, name=path.name, path=str(path), size_bytes=_size(path), error=error
        )

    def _folders(self) -> tuple[Path, ...]:
        if not self._root.is_dir():
            return ()
        paths = (path for path in self._root.iterdir() if not path.name.startswith("."))
        return tuple(sorted(path for path in paths if path.is_dir()))


def _size(path: Path) -> int:
    try:
        return msgspec.json.decode((path / MARKER).read_bytes(), type=Marker).size_bytes
    except (OSError, msgspec.DecodeError):
        return 0
