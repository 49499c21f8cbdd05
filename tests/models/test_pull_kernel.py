"""A running kernel pulls a model beside its requests, for as long as somebody wants it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from fake_hub import FakeHub
from running import StartKernel
from test_pull import FILES, REPO, WEIGHTS, until_partial

from plugins.client import KernelClient
from transports.messages import Delta, Progress
from transports.reports import Admin, ModelsReply

pytestmark = pytest.mark.models


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[FakeHub]:
    async with FakeHub() as hub:
        hub.add(REPO, FILES)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        yield hub


async def test_a_pulled_model_is_in_the_list(
    hub: FakeHub, real_home: Path, start_kernel: StartKernel
) -> None:
    kernel = await start_kernel()
    told: list[Progress] = []

    reply = await kernel.client.admin("models.pull", Admin(model=REPO), ModelsReply, told.append)

    assert [model.name for model in reply.models] == [REPO]
    assert REPO in [model.name for model in await kernel.client.models()]
    assert "download" in [progress.phase for progress in told]


async def test_requests_run_beside_it_and_it_ends_with_its_asker(
    hub: FakeHub, real_home: Path, start_kernel: StartKernel
) -> None:
    kernel = await start_kernel()
    connection = kernel.process.connection
    asker = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    hub.faults[WEIGHTS] = ["stall"]
    asked = asyncio.ensure_future(asker.admin("models.pull", Admin(model=REPO), ModelsReply))
    await asyncio.wait_for(hub.stalled.wait(), 30)

    said = [update.text async for update in kernel.ask("hello") if isinstance(update, Delta)]
    assert "".join(said) == "hello"
    assert _pulls(kernel.pid)
    await asker.close()
    await asyncio.gather(asked, return_exceptions=True)

    async with asyncio.timeout(5):
        while _pulls(kernel.pid):
            await asyncio.sleep(0.02)
    assert (await kernel.client.admin("models.pull", Admin(model=REPO), ModelsReply)).models


def _pulls(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # It has ended meanwhile.
            if "pull" in child.cmdline():
                found.append(child)
    return found


async def test_a_pull_ends_with_a_killed_kernel_and_the_next_goes_on(
    hub: FakeHub, real_home: Path, start_kernel: StartKernel, tmp_path: Path
) -> None:
    first = await start_kernel()
    hub.faults[WEIGHTS] = ["stall"]
    asked = asyncio.ensure_future(first.client.admin("models.pull", Admin(model=REPO), ModelsReply))
    await asyncio.wait_for(hub.stalled.wait(), 30)
    tools = _pulls(first.pid)
    await until_partial(tmp_path / "hub")

    os.kill(first.pid, signal.SIGKILL)

    await first.process.wait()
    async with asyncio.timeout(5):
        while any(tool.is_running() and tool.status() != psutil.STATUS_ZOMBIE for tool in tools):
            await asyncio.sleep(0.02)
    await first.client.close()
    await asyncio.gather(asked, return_exceptions=True)
    hub.seen.clear()
    second = await start_kernel()
    assert (await second.client.admin("models.pull", Admin(model=REPO), ModelsReply)).models
    assert [bool(seen.range) for seen in hub.served(WEIGHTS) if seen.server == "cdn"] == [True]
    await second.end()
