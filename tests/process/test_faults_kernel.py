"""The kernel and its frontends end, stand still, and are killed: rows 22, 23, 25, 27 and 28."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import pytest
from aiohttp import ClientError, ClientSession
from cli_harness import MLXD, environment, processes_of
from running import RunningKernel, StartKernel

from plugins.client import KernelClient
from transports.settings import HttpSettings

LONG = " ".join(f"word{i}" for i in range(150))
SEED = 20_261_125
NUM_SIGINTS = 12


def chat(text: str, model: str) -> dict[str, object]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}


async def frontend_pid(kernel: RunningKernel) -> int:
    return next((f.pid for f in (await kernel.client.status()).frontends if f.supervised), 0)


async def until_http(kernel: RunningKernel, *, after: int) -> None:
    """Wait until a frontend other than *after* listens."""
    async with asyncio.timeout(20):
        while True:
            for frontend in (await kernel.client.status()).frontends:
                if frontend.address and frontend.pid not in (0, after):
                    kernel.url = frontend.address
                    return
            await asyncio.sleep(0.02)


async def test_streams_end_well_while_it_drains_and_nothing_new_begins(http_kernel: RunningKernel) -> None:
    """Row 22."""
    await http_kernel.load("echo/slow")
    async with ClientSession(http_kernel.url) as session:

        async def stream() -> str:
            async with session.post("/v1/chat/completions", json=chat(LONG, "echo/slow")) as reply:
                begun.release()
                return await reply.text()

        begun = asyncio.Semaphore(0)
        streams = [asyncio.create_task(stream()) for _ in range(8)]
        for _ in streams:
            await begun.acquire()
        http_kernel.process.drain()
        await http_kernel.client.stopping.wait()
        async with asyncio.timeout(2):
            while True:
                try:
                    async with session.get("/ready") as reply:
                        assert reply.status in (200, 503)
                except ClientError:
                    break
        texts = await asyncio.gather(*streams)

    assert all(text.endswith("data: [DONE]\n\n") for text in texts)
    assert await asyncio.wait_for(http_kernel.process.wait(), 5) == 0


async def test_streams_without_end_get_an_error_when_the_time_to_drain_is_over(
    start_kernel: StartKernel,
) -> None:
    """Row 23."""
    kernel = await start_kernel(http=HttpSettings(port=0), drain_timeout_s=1.0)
    await kernel.load("echo/faulty")
    async with ClientSession(kernel.url) as session:
        reply = await session.post("/v1/chat/completions", json=chat("ENDLESS", "echo/faulty"))
        await reply.content.readuntil(b"ENDLESS")
        began_s = time.monotonic()
        kernel.process.drain()
        rest = b""
        with pytest.raises(ClientError):
            while True:
                rest += await reply.content.readany()
                if b'"error"' in rest:
                    await reply.content.read()
                    break

    assert b'"code":"shutting_down"' in rest
    assert await asyncio.wait_for(kernel.process.wait(), 10) == 0
    assert 0.9 < time.monotonic() - began_s < 6


def test_ctrl_c_at_any_moment_of_the_start_leaves_no_orphan_and_no_traceback(home: Path) -> None:
    """Row 25, twelve of its two hundred times; tests/benchmarks/bench_orphans.py kills more."""
    chance = Random(SEED)
    for _ in range(NUM_SIGINTS):
        process = subprocess.Popen(
            [MLXD, "run", "echo/plain", "hello"],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        time.sleep(chance.uniform(0.05, 0.9))
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=10)
        deadline_s = time.monotonic() + 3
        while (left := processes_of(home)) and time.monotonic() < deadline_s:
            time.sleep(0.05)

        assert left == []
        # Before our code runs Python itself prints where it was interrupted.
        assert "Traceback" not in error or "plugins/" not in error


async def test_a_kernel_that_stands_still_is_told_to_clients_and_comes_back(
    start_kernel: StartKernel,
) -> None:
    """Row 27: what is under way ends with an error, workers live, and the frontend is there again."""
    kernel = await start_kernel(http=HttpSettings(port=0), heartbeat_s=0.1, dead_after_s=0.6)
    pid = await kernel.load("echo/slow")
    http_pid = await frontend_pid(kernel)
    kernel.client.set_lost()
    async with ClientSession(kernel.url) as session:
        reply = await session.post("/v1/chat/completions", json=chat(LONG, "echo/slow"))
        await reply.content.readuntil(b"word1")
        os.kill(kernel.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(4):
                rest = b""
                while b'"error"' not in rest:
                    rest += await reply.content.readany()
        finally:
            os.kill(kernel.pid, signal.SIGCONT)
    connection = kernel.process.connection
    kernel.client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")

    assert b'"code":"kernel_unavailable"' in rest
    await until_http(kernel, after=http_pid)
    assert await kernel.worker_pid("echo/slow") == pid
    assert await kernel.say("still here", model="echo/slow") == "still here"


async def test_a_killed_frontend_costs_other_frontends_nothing(http_kernel: RunningKernel) -> None:
    """Row 28."""
    await http_kernel.load("echo/slow")
    pid = await frontend_pid(http_kernel)
    undisturbed = asyncio.create_task(http_kernel.say(LONG, model="echo/slow"))
    async with ClientSession(http_kernel.url) as session:
        reply = await session.post("/v1/chat/completions", json=chat(LONG, "echo/slow"))
        await reply.content.readuntil(b"word1")

        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ClientError):
            while await reply.content.readany():
                pass

    async with asyncio.timeout(1):
        while (await http_kernel.client.status()).workers[0].num_active > 1:
            await asyncio.sleep(0.01)
    assert await undisturbed == LONG
    await until_http(http_kernel, after=pid)
    async with ClientSession(http_kernel.url) as session, session.get("/health") as reply:
        assert reply.status == 200
