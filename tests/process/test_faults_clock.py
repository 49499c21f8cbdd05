"""Row 42: the wall clock jumps, and the whole machine sleeps. Nobody is blamed, and nothing is late."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from running import RunningKernel, StartKernel

from transports.settings import HttpSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libfaketime is used as Linux has it")

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DAY_S = 24 * 3600
LONG = " ".join(f"word{i}" for i in range(60))
# A jump in each direction, as the library reads it; the last is a summer time's hour.
JUMPS = {"+1d": DAY_S, "-1d": -DAY_S, "+1h": 3600}


def pids(kernel: RunningKernel) -> set[int]:
    return {child.pid for child in psutil.Process(kernel.pid).children(recursive=True)}


async def stream(session: ClientSession, kernel: RunningKernel, said: str = LONG) -> tuple[str, float]:
    """The answer, and how far its date is from ours, in seconds."""
    body = {"model": "echo/slow", "stream": True, "messages": [{"role": "user", "content": said}]}
    text, apart_s = "", 0.0
    async with session.post(f"{kernel.url}/v1/chat/completions", json=body) as reply:
        async for line in reply.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            text += chunk["choices"][0]["delta"].get("content") or ""
            apart_s = chunk["created"] - time.time()
    return text, apart_s


@pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime (Debian's package of that name)")
async def test_the_clock_may_jump_by_a_day(
    start_kernel: StartKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = tmp_path / "shift"
    shift.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(LIBRARY))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(shift))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    # That one does not jump on a real machine either.
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    kernel = await start_kernel(http=HttpSettings(port=0), heartbeat_s=0.1, dead_after_s=2)
    await kernel.load("echo/slow")
    before = pids(kernel)
    async with ClientSession() as session:
        for jump, jump_s in JUMPS.items():
            under_way = asyncio.create_task(stream(session, kernel))
            await asyncio.sleep(0.2)  # A few beats of each heart, and the stream has begun.
            shift.write_text(jump)
            text, _ = await under_way
            assert text == LONG
            # It did jump: the date of the next answer shows it.
            text, apart_s = await stream(session, kernel, "next")
            assert text == "next"
            assert abs(apart_s - jump_s) < 60

    assert pids(kernel) == before


@contextmanager
def all_stopped(kernel: RunningKernel) -> Iterator[None]:
    """Everything of it stands still, as when a laptop's lid is closed."""
    everybody = [kernel.pid, *pids(kernel)]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)


async def test_the_machine_may_sleep(start_kernel: StartKernel) -> None:
    """Far longer than all deadlines: no process is ended for it, and the stream goes on."""
    kernel = await start_kernel(
        http=HttpSettings(port=0), heartbeat_s=0.1, dead_after_s=0.5, hung_after_s=0.5, stop_timeout_s=0.5
    )
    await kernel.load("echo/slow")
    before = pids(kernel)
    async with ClientSession() as session:
        under_way = asyncio.create_task(stream(session, kernel))
        await asyncio.sleep(0.2)
        with all_stopped(kernel):
            time.sleep(2)  # Our own loop sleeps too.
        text, _ = await under_way

    assert text == LONG
    assert pids(kernel) == before
