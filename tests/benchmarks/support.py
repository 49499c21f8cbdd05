"""What the benchmarks share: a kernel with an echo model, percentiles, and figures with their targets."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports.messages import ChatMessage, ChatRequest
from transports.reports import Admin, DoneReply
from transports.settings import HttpSettings, KernelSettings, Settings

ECHO = "echo/bench"
REAL = "demo/smollm2-135m"
ROOT = Path(__file__).resolve().parents[2]
DEFAULT_KERNEL = KernelSettings()
DEFAULT_HTTP = HttpSettings(port=0)


@dataclass(frozen=True)
class Figure:
    """A measured number beside what it should be."""

    name: str
    value: float
    unit: str
    # ("<=", 3.0) or (">=", 0.97); None: only told.
    target: tuple[str, float] | None = None
    detail: str = ""

    @property
    def is_met(self) -> bool | None:
        if self.target is None:
            return None
        sign, limit = self.target
        return self.value <= limit if sign == "<=" else self.value >= limit


def percentile(values: Sequence[float], percent: int) -> float:
    """The *percent*-th percentile, in [1, 99]."""
    return statistics.quantiles(values, n=100)[percent - 1]


def echo_home(folder: Path, **fields: object) -> Path:
    """A MLXD_HOME with one echo model."""
    add_echo(folder, ECHO, **fields)
    return folder


def add_echo(home: Path, name: str, **fields: object) -> None:
    """Put an echo model into a MLXD_HOME; *fields* are those of its config.json."""
    model = home / "models" / name
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"model_type": "echo", **fields}))


def real_home() -> Path:
    """A MLXD_HOME that keeps the text environment and the default model from run to run."""
    home = ROOT / ".bench"
    home.mkdir(exist_ok=True)
    return home


@contextlib.asynccontextmanager
async def running_kernel(
    home: Path,
    *,
    http: bool = False,
    model: str = ECHO,
    kernel: KernelSettings = DEFAULT_KERNEL,
    http_settings: HttpSettings = DEFAULT_HTTP,
) -> AsyncIterator[tuple[KernelProcess, KernelClient, str]]:
    """A kernel with *model* loaded, a connection, and the URL of its HTTP frontend ("" without)."""
    frontends = ("http",) if http else ()
    settings = Settings(kernel=msgspec.structs.replace(kernel, frontends=frontends), http=http_settings)
    process = await KernelProcess.start(settings, home, preload=(model,))
    connection = process.connection
    client = await KernelClient.connect(connection.endpoint, connection.token, kind="benchmark")
    try:
        await client.admin("load", Admin(model=model), DoneReply)
        url = ""
        while http and not url:
            url = next((f.address for f in (await client.status()).frontends if f.address), "")
        yield process, client, url
    finally:
        await client.close()
        process.end()
        await process.wait()


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """A short-lived MLXD_HOME."""
    with tempfile.TemporaryDirectory(prefix="mlxd-bench-") as folder:
        yield Path(folder)


def chat(text: str, max_tokens: int | None = None) -> ChatRequest:
    """A request of one message."""
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), max_tokens=max_tokens)
