"""The HTTP frontend in front of a real kernel with real echo workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from running import RunningKernel, StartKernel

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports.reports import StatusReply
from transports.settings import HttpSettings, Settings

TIMEOUT_S = 10.0
NUM_STREAMS = 8


def chat(text: str, *, model: str = "echo/plain", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


@asynccontextmanager
async def open_stream(url: str, body: object) -> AsyncIterator[asyncio.StreamReader]:
    """POST a chat on a connection whose every byte we see; aiohttp's client drops what an error follows."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    try:
        yield reader
    finally:
        writer.close()


def is_broken_off(end: bytes, code: str) -> bool:
    """Whether a stream ended with an error event and without the marks of a good end."""
    is_told = b'data: {"error":{' in end and f'"code":"{code}"'.encode() in end
    return is_told and b"[DONE]" not in end and not end.endswith(b"0\r\n\r\n")


async def until_status(kernel: RunningKernel, is_so, timeout_s: float) -> StatusReply:
    async with asyncio.timeout(timeout_s):
        while not is_so(status := await kernel.client.status()):
            await asyncio.sleep(0.01)
    return status


async def test_an_answer_comes_whole_and_streamed(http_kernel: RunningKernel) -> None:
    async with ClientSession(http_kernel.url) as session:
        async with session.post("/v1/chat/completions", json=chat("one two  three")) as reply:
            whole = await reply.json()
        async with session.post("/v1/chat/completions", json=chat("one two  three", stream=True)) as reply:
            lines = (await reply.text()).split("\n\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]

    assert whole["choices"][0]["message"]["content"] == "one two  three"
    assert whole["usage"]["total_tokens"] == 6
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert text == "one two  three"
    assert lines[-2] == "data: [DONE]"


async def test_an_unknown_model_is_a_404_that_names_the_known(http_kernel: RunningKernel) -> None:
    async with ClientSession(http_kernel.url) as session:
        for name in ("nope", "../../etc/passwd", "/etc", "http://x/y", "echo/plain/", "ECHO/PLAIN", "\x00"):
            async with session.post("/v1/chat/completions", json=chat("x", model=name)) as reply:
                error = (await reply.json())["error"]
            assert (reply.status, error["code"]) == (404, "model_not_found")
            assert "echo/plain" in error["message"]


async def test_what_is_refused_leaves_the_worker_as_it_was(http_kernel: RunningKernel) -> None:
    """PYSEC-2026-4199: what was wrong with one request ended the engine."""
    at_the_door = [{"n": 10**9}, {"temperature": -1}, {"stop": [""]}, {"logit_bias": {"-1": 1}}]
    by_the_worker = [{"guided_regex": "(a"}, {"guided_json": {"type": "object"}}]
    pids, statuses, good = set(), [], []
    async with ClientSession(http_kernel.url) as session:
        for fields in ({}, *at_the_door, *by_the_worker):
            async with session.post("/v1/chat/completions", json=chat("x") | fields) as reply:
                statuses.append(reply.status)
            async with session.post("/v1/chat/completions", json=chat("x")) as reply:
                good.append(reply.status)
            pids.add(await http_kernel.worker_pid("echo/plain"))

    assert statuses == [200] + [400] * 6
    assert set(good) == {200}
    assert len(pids) == 1


async def test_no_process_logs_a_prompt(http_kernel: RunningKernel) -> None:
    """Not even one that ended its worker."""
    canary = "canary-of-a-prompt"
    asked = [chat(canary, model="echo/faulty"), chat(canary, n=10**9)]
    for fault in ("FAIL", "RAISE", "CRASH"):
        turns = [{"role": role, "content": text} for role, text in (("system", canary), ("user", fault))]
        asked.append(asked[0] | {"messages": turns})
    async with ClientSession(http_kernel.url) as session:
        statuses = []
        for body in asked:
            async with session.post("/v1/chat/completions", json=body) as reply:
                statuses.append(reply.status)
    logs = {path.name: path.read_text() for path in (http_kernel.home / "logs").iterdir()}

    assert statuses[:2] == [200, 400]
    assert min(statuses[2:]) >= 500
    assert "request_ended" in "".join(logs.values())
    assert [name for name, text in logs.items() if canary in text] == []


async def test_models_and_readiness(http_kernel: RunningKernel) -> None:
    async with ClientSession(http_kernel.url) as session:
        async with session.get("/v1/models") as reply:
            ids = [model["id"] for model in (await reply.json())["data"]]
        async with session.get("/v1/models/echo/plain") as reply:
            one = await reply.json()
        async with session.get("/ready") as ready:
            pass

    assert {"echo/plain", "echo/slow"} <= set(ids)
    assert one["id"] == "echo/plain"
    assert ready.status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_slot(http_kernel: RunningKernel, stream: bool) -> None:
    await http_kernel.load("echo/faulty")
    async with ClientSession(http_kernel.url) as session:
        asking = asyncio.create_task(
            session.post("/v1/chat/completions", json=chat("ENDLESS", model="echo/faulty", stream=stream))
        )
        await until_status(http_kernel, lambda s: any(w.num_active for w in s.workers), TIMEOUT_S)
        asking.cancel() if not stream else (await asking).close()
        left_s = time.monotonic()
        await until_status(http_kernel, lambda s: not any(w.num_active for w in s.workers), 1.0)

    assert time.monotonic() - left_s < 1.0


async def test_a_killed_worker_breaks_every_stream_within_250_ms(http_kernel: RunningKernel) -> None:
    pid = await http_kernel.load("echo/faulty")
    body = chat("ENDLESS", model="echo/faulty", stream=True)
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(open_stream(http_kernel.url, body)) for _ in range(NUM_STREAMS)
        ]
        for stream in streams:
            await stream.readuntil(b"ENDLESS")

        killed_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(TIMEOUT_S):
            ends = [await stream.read() for stream in streams]
        took_s = time.monotonic() - killed_s
    async with (
        ClientSession(http_kernel.url) as session,
        session.post("/v1/chat/completions", json=chat("again", model="echo/faulty")) as reply,
    ):
        again = await reply.json()

    for end in ends:
        assert is_broken_off(end, "worker_crashed")
    assert took_s < 0.25
    assert again["choices"][0]["message"]["content"] == "again"


async def test_bad_input_leaves_the_worker_alone(http_kernel: RunningKernel) -> None:
    pid = await http_kernel.load("echo/plain")
    bad = [{"temperature": "hot"}, {"n": 500}, {"messages": []}, {"logit_bias": {"a": 1}}, {"max_tokens": 0}]
    async with ClientSession(http_kernel.url) as session:
        for fields in bad:
            async with session.post("/v1/chat/completions", json=chat("x") | fields) as reply:
                assert reply.status == 400
        async with session.post("/v1/chat/completions", json=chat("good")) as reply:
            assert reply.status == 200

    assert await http_kernel.worker_pid("echo/plain") == pid


async def test_too_much_at_once_is_a_429_with_retry_after(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(http=HttpSettings(port=0), max_queued=1)
    await kernel.load("echo/narrow")
    text = " ".join(["word"] * 100)
    async with ClientSession(kernel.url) as session:

        async def ask() -> tuple[int, str | None]:
            body = chat(text, model="echo/narrow", stream=True)
            async with session.post("/v1/chat/completions", json=body) as reply:
                return reply.status, reply.headers.get("Retry-After")

        answers = await asyncio.gather(*[ask() for _ in range(5)])
    refused = [retry_after for status, retry_after in answers if status == 429]

    assert sorted(status for status, _ in answers) == [200, 200, 429, 429, 429]
    assert all(retry_after and 1 <= int(retry_after) <= 30 for retry_after in refused)


async def test_draining_lets_streams_end_and_refuses_new_ones(http_kernel: RunningKernel) -> None:
    await http_kernel.load("echo/slow")
    text = " ".join(["word"] * 100)
    async with ClientSession(http_kernel.url) as session:
        body = chat(text, model="echo/slow", stream=True)
        reply = await session.post("/v1/chat/completions", json=body)
        await reply.content.readuntil(b"word")
        http_kernel.process.drain()
        rest = await reply.content.read()
    code = await asyncio.wait_for(http_kernel.process.wait(), TIMEOUT_S)

    assert rest.endswith(b"data: [DONE]\n\n")
    assert code == 0


async def test_a_kernel_that_dies_breaks_every_stream(home: Path) -> None:
    settings = Settings(http=HttpSettings(port=0))
    process = await KernelProcess.start(settings, home)
    client = await KernelClient.connect(process.connection.endpoint, process.connection.token, kind="test")
    kernel = RunningKernel(home, process, client)
    try:
        status = await until_status(kernel, lambda s: s.frontends and s.frontends[0].address, TIMEOUT_S)
        body = chat("ENDLESS", model="echo/faulty", stream=True)
        async with open_stream(status.frontends[0].address, body) as stream:
            await stream.readuntil(b"ENDLESS")
            os.kill(process.pid, signal.SIGKILL)
            async with asyncio.timeout(2):
                end = await stream.read()
    finally:
        client.set_lost()
        process.end()
        await process.wait()

    assert is_broken_off(end, "kernel_unavailable")


async def test_the_frontend_stays_small(http_kernel: RunningKernel) -> None:
    async with ClientSession(http_kernel.url) as session:
        for _ in range(20):
            async with session.post("/v1/chat/completions", json=chat("one two", stream=True)) as reply:
                await reply.read()
    frontends = (await http_kernel.client.status()).frontends
    pid = next(frontend.pid for frontend in frontends if frontend.kind == "http")

    assert psutil.Process(pid).memory_info().rss < 90e6
