"""Waiting in front of real workers: headers, refusals, turns, and requests that end their worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from cli_harness import mlxd
from running import RunningKernel, StartKernel

from transports.reports import WorkerInfo
from transports.settings import HttpSettings

TIMEOUT_S = 10.0
CHAT = "/v1/chat/completions"


def chat(text: str, model: str = "echo/narrow", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


async def ask(
    session: ClientSession, text: str, model: str = "echo/narrow", **headers: str
) -> tuple[int, str]:
    """Status and error code ("" for none)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.post(CHAT, json=chat(text, model), headers=named) as reply:
        body = await reply.json()
    return reply.status, body.get("error", {}).get("code", "")


async def worker(kernel: RunningKernel, model: str) -> WorkerInfo:
    return next(worker for worker in (await kernel.client.status()).workers if worker.model == model)


async def until_queued(kernel: RunningKernel, num: int, model: str = "echo/narrow") -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while (await worker(kernel, model)).num_queued != num:
            await asyncio.sleep(0.005)


async def until_active(kernel: RunningKernel, num: int, model: str = "echo/narrow") -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while (await worker(kernel, model)).num_active != num:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def busy(kernel: RunningKernel, session: ClientSession) -> AsyncIterator[None]:
    """The only slot is taken for the length of the block."""
    running = asyncio.create_task(ask(session, "word " * 10_000))
    await until_active(kernel, 1)
    yield
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def narrow(start_kernel: StartKernel) -> RunningKernel:
    """A model with one slot and room for three who wait."""
    kernel = await start_kernel(http=HttpSettings(port=0), max_queued=3)
    await kernel.load("echo/narrow")
    return kernel


async def test_higher_priority_goes_first_over_http(narrow: RunningKernel) -> None:
    ended: list[str] = []

    async def one(session: ClientSession, priority: str) -> None:
        await ask(session, "one two three four", X_Priority=priority)
        ended.append(priority)

    async with ClientSession(narrow.url) as session:
        tasks = []
        async with busy(narrow, session):
            for num, priority in enumerate(("low", "normal", "high")):
                tasks.append(asyncio.create_task(one(session, priority)))
                await until_queued(narrow, num + 1)
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*tasks)

    assert ended == ["high", "normal", "low"]


async def test_a_full_queue_answers_429_and_makes_room_for_others(narrow: RunningKernel) -> None:
    async with ClientSession(narrow.url) as session:
        tasks = []
        async with busy(narrow, session):
            for num in range(3):
                tasks.append(asyncio.create_task(ask(session, "one", User_Agent="many/1")))
                await until_queued(narrow, num + 1)
            async with session.post(CHAT, json=chat("one"), headers={"User-Agent": "many/1"}) as refused:
                error = (await refused.json())["error"]
            tasks.append(asyncio.create_task(ask(session, "one", User_Agent="few/1")))
            given_way = await tasks[2]
        ends = await asyncio.gather(*tasks)

    assert (refused.status, error["code"], error["type"]) == (429, "queue_full", "rate_limit_error")
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert given_way == (429, "queue_full")
    assert [ends[0], ends[1], ends[3]] == [(200, "")] * 3


async def test_a_request_that_waited_too_long_never_runs(narrow: RunningKernel) -> None:
    async with ClientSession(narrow.url) as session:
        async with busy(narrow, session):
            late = await ask(session, "late", X_Queue_Timeout="0.1")
        await until_active(narrow, 0)

    assert late == (503, "queue_timeout")
    assert (await worker(narrow, "echo/narrow")).num_started == 1


async def test_a_client_over_its_rate_gets_429(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(http=HttpSettings(port=0), max_requests_per_client_per_minute=2)
    async with ClientSession(kernel.url) as session:
        ends = [await ask(session, "x", "echo/plain") for _ in range(3)]
        other = await ask(session, "x", "echo/plain", User_Agent="another/1")

    assert ends == [(200, ""), (200, ""), (429, "rate_limited")]
    assert other == (200, "")


async def test_a_poison_request_kills_two_workers_and_no_more(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(http=HttpSettings(port=0))
    await kernel.load("echo/faulty")
    async with ClientSession(kernel.url) as session:
        neighbour = asyncio.create_task(ask(session, "word " * 800, "echo/faulty"))
        await until_active(kernel, 1, "echo/faulty")
        first = await ask(session, "CRASH", "echo/faulty")
        blamed = await neighbour
        second = await ask(session, "CRASH", "echo/faulty")
        refused = await ask(session, "CRASH", "echo/faulty", User_Agent="somebody else/1")
        innocent = await ask(session, "word " * 800, "echo/faulty")

    assert [first, second, blamed] == [(502, "worker_crashed")] * 3
    assert refused == (422, "poison_request")
    assert innocent == (200, "")
    assert (await worker(kernel, "echo/faulty")).num_restarts == 2


async def test_ps_shows_who_waits_and_not_for_what(narrow: RunningKernel) -> None:
    async with ClientSession(narrow.url) as session:
        secrets = {"User_Agent": "editor/1", "X_Api_Key": "sk-secret", "X_Priority": "low"}
        async with busy(narrow, session):
            waiting = asyncio.create_task(ask(session, "prompt", **secrets))
            await until_queued(narrow, 1)
            shown = (await asyncio.to_thread(mlxd, narrow.home, "ps", "--queue")).stdout
            listed = (await asyncio.to_thread(mlxd, narrow.home, "ps", "--queue", "--json")).stdout
            workers = (await asyncio.to_thread(mlxd, narrow.home, "ps")).stdout
        await waiting
    (queued,) = json.loads(listed)
    nobody = await asyncio.to_thread(mlxd, narrow.home, "ps", "--queue")

    assert (queued["model"], queued["position"], queued["priority"]) == ("echo/narrow", 1, -1)
    assert queued["client"].startswith("127.0.0.1 editor key-")
    assert "low" in shown
    assert "1/1 +1" in workers
    assert "sk-secret" not in shown + listed
    assert (nobody.returncode, nobody.stderr) == (0, "No request waits.\n")
