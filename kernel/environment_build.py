"""Builds and tests one virtual environment in a temporary folder and swaps it in when it works."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from kernel.isolation import worker_environment
from kernel.tools import run_tool
from kernel.uv import Downloads, explain, run_uv
from kernel.worker_kinds import WorkerKind
from transports.errors import EnvironmentFailed
from transports.messages import Progress

OnProgress = Callable[[Progress], None]

MARKER = "mlxd-environment.json"
# The lock file that an environment was built from, in itself: it may be needed longer than the kind has it.
LOCK_COPY = "requirements.lock"
# Folders below envs/ that are no environments: one being built, one on its way out.
BUILDING, TRASH = ".building-", ".removed-"
# The first import of a model library compiles it: 20 s on two slow cores.
SMOKE_TIMEOUT_S = 180.0
# The share of the whole that is done when all is fetched, and when all is installed.
FETCHED, INSTALLED = 0.8, 0.9


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Written into an environment as the last thing: it is complete and passed its test."""

    lock_sha256: str
    python: str
    size_bytes: int


def environment_name(kind: str, lock: Path) -> str:
    """The name that *lock* gives an environment of *kind* under this Python on this platform."""
    text = f"{_sha256(lock)}\n{_python_version()}\n{sysconfig.get_platform()}"
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


async def build(
    kind: WorkerKind, lock: Path, target: Path, link_dir: Path, *, timeout_s: float, on_progress: OnProgress
) -> None:
    """Build the environment of *lock* and put it at *target*, in one step and only if it passes its test.

    Its test is that of *kind*.

    The caller holds the lock of the folder around *target*.

    Raises:
        EnvironmentFailed: Fetching, installing or testing failed; *target* is as it was.
    """

    def report(fraction: float, detail: str) -> None:
        on_progress(Progress(phase="environment", fraction=fraction, detail=detail))

    building = target.with_name(f"{BUILDING}{target.name}-{secrets.token_hex(4)}")
    try:
        report(0.0, f"building {target.name}")
        async with asyncio.timeout(timeout_s):
            await _create(building, timeout_s)
            await _install(lock, building, timeout_s, report)
            report(INSTALLED, "testing")
            if error := await smoke(kind, lock, building, link_dir):
                raise EnvironmentFailed(f"the new environment fails its test: {error}")
            await asyncio.to_thread(_finish, building, target, lock)
    except TimeoutError:
        raise EnvironmentFailed(f"not finished after {timeout_s:.0f} s") from None
    finally:
        await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)
    report(1.0, f"{target.name} is ready")


async def smoke(kind: WorkerKind, lock: Path, environment: Path, link_dir: Path) -> str:
    """Import and try out what workers of *kind* need, as a worker would; what is wrong, or ""."""
    env = worker_environment(os.environ) | {"PYTHONPATH": os.fspath(link_dir)}
    python = environment / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="mlxd-smoke-") as cwd:
        try:
            result = await run_tool(
                [python, "-P", "-m", "workers", "smoke", lock, kind.loader, *kind.declared.modules],
                env=env,
                cwd=Path(cwd),
                timeout_s=SMOKE_TIMEOUT_S,
            )
        except TimeoutError:
            return f"no answer after {SMOKE_TIMEOUT_S:.0f} s"
    if result.returncode == 0:
        return ""
    return explain(result.lines) or f"exit status {result.returncode}"


async def _create(building: Path, timeout_s: float) -> None:
    # Not sys.executable: the environment would go with the one that mlxd is installed in.
    base = getattr(sys, "_base_executable", "") or sys.executable
    await run_uv(
        ["venv", "--relocatable", "--python", base, building], cwd=building.parent, timeout_s=timeout_s
    )


async def _install(
    lock: Path, building: Path, timeout_s: float, report: Callable[[float, str], None]
) -> None:
    downloads = Downloads()

    def on_line(line: str) -> None:
        if downloads.feed(line):
            report(FETCHED * downloads.fraction, line.strip())
        elif line.startswith("Prepared "):
            report(FETCHED, line)

    # Wheels only: building a source distribution would run its code.
    options = ["--require-hashes", "--no-deps", "--no-build"]
    await run_uv(
        ["pip", "install", *options, "--python", building / "bin" / "python", "-r", lock],
        cwd=building.parent,
        timeout_s=timeout_s,
        on_line=on_line,
    )


def _finish(building: Path, target: Path, lock: Path) -> None:
    marker = Marker(lock_sha256=_sha256(lock), python=_python_version(), size_bytes=_size(building))
    shutil.copyfile(lock, building / LOCK_COPY)
    (building / MARKER).write_bytes(msgspec.json.encode(marker))
    if target.exists():
        target.rename(target.with_name(f"{TRASH}{target.name}-{secrets.token_hex(4)}"))
    building.rename(target)


def _size(folder: Path) -> int:
    """Bytes of all files, without following links."""
    total = 0
    for directory, _, names in os.walk(folder):
        total += sum(os.lstat(f"{directory}/{name}").st_size for name in names)
    return total


def _sha256(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
