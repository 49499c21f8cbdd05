"""A running kernel as tests use it, and the models of their homes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from plugins.client import KernelClient, Submission
from plugins.launch import KernelProcess
from transports.messages import ChatMessage, ChatRequest
from transports.reports import Admin, DoneReply

DEFAULT_MODEL = "demo/smollm2-135m"
VISION_MODEL = "demo/tiny-vl"
# The echo models of every test home: name -> the fields of their config.json.
ECHO_MODELS: dict[str, dict[str, object]] = {
    "echo/plain": {},
    # Like a model that decodes 100 tokens a second.
    "echo/slow": {"step_s": 0.01},
    # Obeys CRASH, HANG, FAIL, PREFILL and ENDLESS.
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

    async def load(self, model: str) -> int:
        """Load a model; the pid of its worker."""
        await self.client.admin("load", Admin(model=model), DoneReply)
        return await self.worker_pid(model)

    async def worker_pid(self, model: str) -> int:
        workers = (await self.client.status()).workers
        return next(worker.pid for worker in workers if worker.model == model)

    async def end(self) -> int:
        """End it now, unless it ended already; its exit code."""
        await self.client.close()
        self.process.end()
        async with asyncio.timeout(10):
            return await self.process.wait()


StartKernel = Callable[..., Awaitable[RunningKernel]]
