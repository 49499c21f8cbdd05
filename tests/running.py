"""A running kernel as tests use it, and the models of their homes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from plugins.client import KernelClient, Submission
from plugins.launch import KernelProcess
from transports.messages import ChatMessage, ChatRequest, Delta
from transports.reports import Admin, DoneReply
from transports.settings import Settings

DEFAULT_MODEL = "demo/smollm2-135m"
VISION_MODEL = "demo/tiny-vl"
EMBEDDING_MODEL = "demo/all-minilm-l6-v2"
# The echo models of every test home: name -> the fields of their config.json.
ECHO_MODELS: dict[str, dict[str, object]] = {
    "echo/plain": {},
    # Like a model that decodes 100 tokens a second.
    "echo/slow": {"step_s": 0.01},
    # Obeys the words of workers/echo.py and echo_faults.py.
    "echo/faulty": {"step_s": 0.005, "faults": True},
    "echo/narrow": {"num_slots": 1, "step_s": 0.01},
    # Takes pictures, and says their size and colours.
    "echo/eyes": {"modalities": ["text", "image"]},
}


@dataclass
class RunningKernel:
    """A kernel process, a frontend's connection to it, and where its HTTP frontend listens ("" if none)."""

    home: Path
    process: KernelProcess
    client: KernelClient
    url: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, text: str, *, model: str = "echo/plain", **fields: object) -> Submission:
        """Submit one message; *fields* are those of ChatRequest."""
        body = ChatRequest(messages=(ChatMessage(role="user", content=text),), **fields)  # type: ignore[arg-type]
        return self.client.submit(task="chat", model=model, body=body)

    async def say(self, text: str, *, model: str = "echo/plain", **fields: object) -> str:
        """Submit one message and wait for its whole answer."""
        async with self.ask(text, model=model, **fields) as answer:
            return "".join([update.text async for update in answer if isinstance(update, Delta)])

    async def load(self, model: str) -> int:
        """Load a model; the pid of its worker."""
        await self.client.admin("load", Admin(model=model), DoneReply)
        return await self.worker_pid(model)

    async def worker_pid(self, model: str) -> int:
        workers = (await self.client.status()).workers
        return next(worker.pid for worker in workers if worker.model == model)

    async def worker_pid_of_running(self, model: str) -> int:
        """The pid of a model's worker, once a request is inside it."""
        async with asyncio.timeout(20):
            while True:
                for worker in (await self.client.status()).workers:
                    if worker.model == model and worker.num_active:
                        return worker.pid
                await asyncio.sleep(0.02)

    async def find_worker(self, model: str) -> int:
        """The pid of a model's worker; 0 while there is none."""
        return next((w.pid for w in (await self.client.status()).workers if w.model == model), 0)

    async def end(self) -> int:
        """End it now, unless it ended already; its exit code."""
        await self.client.close()
        self.process.end()
        async with asyncio.timeout(10):
            return await self.process.wait()


def add_model(home: Path, name: str, **fields: object) -> None:
    """Put another echo model into *home*; *fields* are those of its config.json."""
    folder = home / "models" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "echo", **fields}))


def add_echo_models(home: Path) -> None:
    """Put `ECHO_MODELS` into *home*."""
    for name, fields in ECHO_MODELS.items():
        add_model(home, name, **fields)


async def run_kernel(settings: Settings, at: Path, preload: tuple[str, ...] = ()) -> RunningKernel:
    """Start a kernel and connect to it; with the HTTP frontend among its frontends, once that listens."""
    process = await KernelProcess.start(settings, at, preload=preload)
    connection = process.connection
    client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    kernel = RunningKernel(at, process, client)
    if "http" in settings.kernel.frontends:
        kernel.url = await _address(client)
    return kernel


async def _address(client: KernelClient) -> str:
    """Where the HTTP frontend listens, once it does."""
    async with asyncio.timeout(20):
        while True:
            status = await client.status()
            for frontend in status.frontends:
                if frontend.kind == "http" and frontend.address:
                    return frontend.address
            assert not any(f.state == "failed" for f in status.frontends), status.frontends
            await asyncio.sleep(0.02)


StartKernel = Callable[..., Awaitable[RunningKernel]]
