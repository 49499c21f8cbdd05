"""Runs uv: its own settings and pip's index settings keep working, its lines become progress and errors."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from kernel.tools import run_tool
from transports.errors import EnvironmentFailed

# In a virtual environment of the user these would send uv to the wrong place.
_DROPPED = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PYTHON", "UV_SYSTEM_PYTHON")
# "Downloading numpy (16.1MiB)" and later " Downloaded numpy"; uv announces those of 1 MiB and more.
_DOWNLOADING = re.compile(r"\s*Downloading (\S+) \(([\d.]+)([KMG]i?B)\)")
_DOWNLOADED = re.compile(r"\s*Downloaded (\S+)")
_UNIT_BYTES = {"K": 1024, "M": 1024**2, "G": 1024**3}
_CAUSE = re.compile(r"(?:error|cause|Caused by): (.+)")


# For questions that uv answers from its own settings.
QUERY_TIMEOUT_S = 30.0
# How often a growing file is looked at; a progress bar needs no more.
POLL_S = 0.2


class Downloads:
    """How far uv's downloads are: bytes of finished files over bytes of announced ones."""

    def __init__(self) -> None:
        self._announced: dict[str, float] = {}
        self._done = 0.0
        self._fraction = 0.0

    def feed(self, line: str) -> bool:
        """Read one line of uv's; whether it changed the progress."""
        if found := _DOWNLOADING.match(line):
            name, size, unit = found.groups()
            self._announced[name] = float(size) * _UNIT_BYTES[unit[0]]
        elif (found := _DOWNLOADED.match(line)) and found[1] in self._announced:
            self._done += self._announced[found[1]]
        else:
            return False
        # More may be announced after some are done; progress never goes back.
        self._fraction = max(self._fraction, self._done / sum(self._announced.values()))
        return True

    @property
    def fraction(self) -> float:
        """In [0, 1]."""
        return self._fraction


async def run_uv(
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    timeout_s: float,
    on_line: Callable[[str], None] = lambda _line: None,
) -> None:
    """Run uv to its end.

    Raises:
        EnvironmentFailed: It cannot be started, failed, or took too long.
    """
    command = [_find_uv(), *arguments, "--color", "never", "--no-python-downloads"]
    try:
        result = await run_tool(
            command, env=uv_environment(os.environ), cwd=cwd, timeout_s=timeout_s, on_line=on_line
        )
    except TimeoutError:
        raise EnvironmentFailed(f"uv: not finished after {timeout_s:.0f} s") from None
    if result.returncode != 0:
        raise EnvironmentFailed(f"uv: {explain(result.lines) or f'exit status {result.returncode}'}")


async def uv_cache(cwd: Path) -> Path:
    """Where uv keeps what it fetched."""
    lines: list[str] = []
    await run_uv(["cache", "dir"], cwd=cwd, timeout_s=QUERY_TIMEOUT_S, on_line=lines.append)
    return Path(next((line for line in reversed(lines) if line.startswith("/")), cwd))


@contextlib.asynccontextmanager
async def growth(cache: Path, file: str, report: Callable[[int], None]) -> AsyncIterator[None]:
    """While inside, tell how many bytes of *file* uv has fetched and unpacked so far.

    uv unpacks a wheel while it comes in, to `<cache>/.tmp…`. Where a version of uv does otherwise,
    nothing is told.
    """

    async def watch() -> None:
        largest = 0
        while True:
            await asyncio.sleep(POLL_S)
            size = await asyncio.to_thread(_largest, cache, file)
            if size > largest:
                largest = size
                report(largest)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of uv: the user's, with pip's index where uv has none of its own."""
    env = {name: value for name, value in environ.items() if name not in _DROPPED}
    if not any(env.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        index = env.get("PIP_INDEX_URL") or _pip_index(env)
        if index:
            env["UV_DEFAULT_INDEX"] = index
    if env.get("PIP_CERT"):
        env.setdefault("SSL_CERT_FILE", env["PIP_CERT"])
    return env


def explain(lines: Sequence[str]) -> str:
    """What went wrong in one line: uv's error and the last of the causes under it."""
    causes = [found[1].strip().rstrip(".") for line in lines if (found := _CAUSE.match(line.strip()))]
    if not causes:
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return causes[0] if len(causes) == 1 else f"{causes[0]}: {causes[-1]}"


def _largest(cache: Path, file: str) -> int:
    largest = 0
    for path in cache.glob(f".tmp*/{file}"):
        # uv may just have moved it to its place.
        with contextlib.suppress(OSError):
            largest = max(largest, path.stat().st_size)
    return largest


def _find_uv() -> str:
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - absent where mlxd was installed without its dependencies

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        if found := shutil.which("uv"):
            return found
    raise EnvironmentFailed("uv: not found; install mlxd again, or uv on your PATH")


def _pip_index(env: Mapping[str, str]) -> str | None:
    """index-url of pip's configuration files, which uv does not read; later files win, as in pip."""
    config_home = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [Path("/etc/pip.conf"), Path.home() / ".pip/pip.conf", config_home / "pip/pip.conf"]
    files.append(Path.home() / "Library/Application Support/pip/pip.conf")
    if env.get("PIP_CONFIG_FILE"):
        files.append(Path(env["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        # Not ours to report; uv goes on with its own default.
        return None
    for section in ("install", "global"):
        if parser.has_option(section, "index-url"):
            return str(parser.get(section, "index-url"))
    return None
