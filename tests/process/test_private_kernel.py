"""The kernel that a command starts for itself, when another command takes it too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from running import RunningKernel

from plugins.client import Submission
from plugins.launch import attach, connected
from transports import rundir
from transports.messages import ChatMessage, ChatRequest, Delta
from transports.settings import Settings


async def test_a_command_that_ends_does_not_end_the_answer_of_another(home: Path) -> None:
    text = " ".join(f"word{i}" for i in range(100))
    body = ChatRequest(messages=(ChatMessage(role="user", content=text),))

    async with asyncio.timeout(20), connected(Settings(), home, start_private=True):
        other = await attach(home)
        assert other
        answer = other.submit(task="chat", model="echo/slow", body=body)
        said = [await anext(answer)]
        while not isinstance(said[-1], Delta):
            said.append(await anext(answer))
        rest = asyncio.create_task(_read(answer))

    assert "".join([u.text for u in said if isinstance(u, Delta)]) + await rest == text
    await other.close()


async def _read(answer: Submission) -> str:
    return "".join([update.text async for update in answer if isinstance(update, Delta)])


async def test_a_kernel_that_took_the_place_of_another_is_found(
    kernel: RunningKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How to reach the last one was read just before it ended."""
    stale = msgspec.structs.replace(kernel.process.connection, token="of the last one")
    readings = iter([stale])
    monkeypatch.setattr(rundir, "read_connection", lambda _: next(readings, kernel.process.connection))

    found = await attach(kernel.home)

    assert found
    await found.close()


async def test_commands_that_start_at_once_share_one_kernel(home: Path) -> None:
    """All but the fastest meet a kernel that lives and cannot be reached yet."""

    async def pid() -> int:
        async with connected(Settings(), home, start_private=True) as client:
            found = (await client.status()).pid
            await together.wait()
            return found

    together = asyncio.Barrier(3)
    async with asyncio.timeout(30):
        pids = await asyncio.gather(*(pid() for _ in range(3)))

    assert 1 == len(set(pids))
