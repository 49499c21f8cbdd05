"""What tests share: a private MLXD_HOME, running kernels that end with their test, the real model."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from leftovers import child_pids, commands_of_ours
from running import (
    DEFAULT_MODEL,
    EMBEDDING_MODEL,
    VISION_MODEL,
    RunningKernel,
    StartKernel,
    add_echo_models,
    run_kernel,
)

from kernel.demos import EMBEDDED
from kernel.environment_build import environment_name
from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports import rundir
from transports.filelock import locked
from transports.garbage import keep_what_lives
from transports.registrations import OURS, registrations
from transports.reports import Admin, DoneReply
from transports.settings import HttpSettings, KernelSettings, Settings

ROOT = Path(__file__).resolve().parents[1]
# For another process of pytest to build an environment and fetch a model; a test has 120 s in all.
PREPARE_TIMEOUT_S = 110.0
# Tests expect the environments and the answers of the CPU, also on a machine with an NVIDIA GPU.
os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """No test leaves a process behind; a kernel that a whole module shares is not the test's."""
    shared = child_pids()
    yield
    # Not by a list of all descendants before and after: a shared kernel may start a worker between the two.
    names = commands_of_ours(child_pids() - shared)
    assert not names, f"left running: {names}"


@pytest.fixture
def short_path() -> Iterator[Path]:
    """As `tmp_path`, with room for the name of a socket: that of macOS is longer than one may be."""
    with tempfile.TemporaryDirectory(prefix="mlxd-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private MLXD_HOME with echo models."""
    path = tmp_path / "home"
    add_echo_models(path)
    monkeypatch.setenv("MLXD_HOME", str(path))
    for variable in list(os.environ):
        if variable.startswith("MLXD_") and variable != "MLXD_HOME" and not variable.startswith("MLXD_TEST_"):
            monkeypatch.delenv(variable)
    return path


@pytest.fixture
async def start_kernel(home: Path) -> AsyncIterator[StartKernel]:
    """Start kernels; keyword arguments are fields of KernelSettings, `http` is an HttpSettings."""
    running: list[RunningKernel] = []

    async def start(
        *, at: Path = home, http: HttpSettings | None = None, preload: tuple[str, ...] = (), **fields: object
    ) -> RunningKernel:
        frontends = () if http is None else ("http",)
        settings = Settings(
            kernel=KernelSettings(frontends=frontends, **fields),  # type: ignore[arg-type]
            http=http or HttpSettings(),
        )
        kernel = await run_kernel(settings, at, preload)
        running.append(kernel)
        return kernel

    yield start
    for kernel in running:
        with contextlib.suppress(ProcessLookupError):
            await kernel.end()
        assert not rundir.locate(kernel.home).exists(), "the run directory is still there"


@pytest.fixture
async def kernel(start_kernel: StartKernel) -> RunningKernel:
    """A kernel without frontends, with echo models."""
    return await start_kernel()


@pytest.fixture
async def http_kernel(start_kernel: StartKernel) -> RunningKernel:
    """A kernel with the HTTP frontend on a free port, with echo models."""
    return await start_kernel(http=HttpSettings(port=0))


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest) -> Path:
    """A folder that outlives the run with the text environment and the default model, made when missing."""
    path = Path(os.environ.get("MLXD_TEST_CACHE") or request.config.cache.mkdir("mlxd")).resolve()

    # Not attempted twice: what is there is checked by the kernel when a test loads it.
    def is_there() -> bool:
        return (path / "models" / DEFAULT_MODEL).is_dir() and _environment(path, "text").is_dir()

    asyncio.run(_make_once(path, DEFAULT_MODEL, is_there))
    return path


@pytest.fixture(scope="session")
def vision_prepared(prepared: Path) -> Path:
    """The folder `prepared`, with the vision environment too."""
    asyncio.run(_make_once(prepared, VISION_MODEL, _environment(prepared, "vision").is_dir))
    return prepared


async def _make_once(path: Path, model: str, is_there: Callable[[], bool]) -> None:
    """Have a kernel make what a model needs; pytest's processes share the folder, and wait for each other."""
    async with locked(path / "tests.lock", timeout_s=PREPARE_TIMEOUT_S):
        if not is_there():
            await _load_once(path, model)


async def _load_once(path: Path, model: str) -> None:
    """Have a kernel make what a model needs."""
    process = await KernelProcess.start(Settings(kernel=KernelSettings(frontends=())), path)
    try:
        connection = process.connection
        client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
        await client.admin("load", Admin(model=model), DoneReply)
        await client.close()
    finally:
        process.end()
        await process.wait()


def _environment(path: Path, kind: str) -> Path:
    return path / "envs" / environment_name(kind, ROOT / "workers" / kind / "requirements.lock")


@pytest.fixture
def real_home(home: Path, prepared: Path) -> Path:
    """A private MLXD_HOME that has the text environment and the default model too."""
    (home / "envs").symlink_to(prepared / "envs")
    (home / "models" / "demo").symlink_to(prepared / "models" / "demo")
    return home


@pytest.fixture(scope="session")
def text_python(prepared: Path) -> str:
    """The interpreter of the text environment."""
    return str(_environment(prepared, "text") / "bin" / "python")


@pytest.fixture(scope="session")
def embedding_prepared(prepared: Path) -> Path:
    """The folder `prepared`, with the embedding environment and its model too."""
    model = prepared / "models" / EMBEDDING_MODEL
    environment = _environment(prepared, "embedding")
    is_there = lambda: model.is_dir() and environment.is_dir()  # noqa: E731
    asyncio.run(_make_once(prepared, EMBEDDING_MODEL, is_there))
    return prepared


@pytest.fixture(scope="session")
def embedding_python(embedding_prepared: Path) -> str:
    """The interpreter of the embedding environment."""
    return str(_environment(embedding_prepared, "embedding") / "bin" / "python")


@pytest.fixture(scope="session")
def vision_python(vision_prepared: Path) -> str:
    """The interpreter of the vision environment."""
    return str(_environment(vision_prepared, "vision") / "bin" / "python")


@pytest.fixture(scope="session")
def tiny_vl() -> Path:
    """The folder of the vision model that is part of mlxd."""
    return ROOT / "workers" / EMBEDDED[VISION_MODEL]


@pytest.fixture(scope="session")
def smollm2(prepared: Path) -> Path:
    """The folder of the default model."""
    return prepared / "models" / DEFAULT_MODEL


def pytest_configure() -> None:
    """Let Ctrl-C count; compile once; stop where mlxd was installed before its entry points changed."""
    # Else each of a thousand processes compiles anew what it imports, and pytest all tests.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Ignored in a shell's background job, and then by all that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, wanted in points.items():
        found = {one.name: one.value for one in registrations(group) if one.distribution == OURS}
        if found != wanted:
            pytest.exit(f"mlxd is installed with other entry points in {group}: `uv pip install -e '.[dev]'`")


def pytest_collection_finish() -> None:
    """Thousands of tests and what they import are looked through for garbage once, and not in each test."""
    keep_what_lives()
