"""Streams end in exactly one way that the client can tell; a client that leaves is noticed."""

from __future__ import annotations

import asyncio

import pytest
from http_harness import MODEL, chat_body, fail, open_door, say_nothing, updates_of

from transports.errors import (
    ContextLengthExceeded,
    ModelNotFound,
    QueueFull,
    QueueTimeout,
    WorkerCrashed,
)
from transports.messages import Delta, Done, Prefill, Progress, Usage

STREAM = chat_body(stream=True)
PATH = "/v1/chat/completions"
COMPLETION = {"model": MODEL, "prompt": "x", "stream": True}
# A client that left is cancelled within this.
CANCEL_S = 1.0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "type_", "retry_after"),
    [
        (ModelNotFound("model: known: a, b", param="model"), 404, "invalid_request_error", None),
        (ContextLengthExceeded("too long", param="messages"), 400, "invalid_request_error", None),
        (QueueFull("full", retry_after_s=2.1), 429, "rate_limit_error", "3"),
        (QueueFull("full", retry_after_s=1000), 429, "rate_limit_error", "30"),
        (QueueTimeout("late"), 503, "server_error", "1"),
        (WorkerCrashed("crashed"), 502, "server_error", None),
    ],
)
async def test_a_failure_before_the_first_event_is_a_status(stream, error, status, type_, retry_after):
    async with open_door() as door:
        door.client.script = fail(error)
        reply = await door.chat(stream=stream)

    assert reply.status == status
    assert reply.headers.get("retry-after") == retry_after
    assert reply.error == {
        "message": error.message,
        "type": type_,
        "param": error.param,
        "code": error.code,
    }


async def test_a_failure_after_the_first_event_breaks_the_body_off():
    """The OpenAI SDK takes a stream that ends well formed for a success."""
    async with open_door() as door:
        door.client.script = fail(WorkerCrashed("the worker crashed"), "Hel")
        connection = await door.raw(door.bytes_of("POST", PATH, STREAM))
        data = await connection.rest()

    assert b"Transfer-Encoding: chunked" in data
    assert b'"content":"Hel"' in data
    error = b'data: {"error":{"message":"the worker crashed","type":"server_error","param":null,'
    assert error + b'"code":"worker_crashed"}}\n\n\r\n' in data
    assert b"[DONE]" not in data
    assert not data.endswith(b"0\r\n\r\n")


async def test_a_good_stream_ends_well_formed_and_keeps_the_connection():
    async with open_door() as door:
        connection = await door.raw(door.bytes_of("POST", PATH, STREAM))
        first = await connection.reply()
        connection.writer.write(door.bytes_of("POST", PATH, STREAM))
        second = await connection.reply()
        connection.close()

    assert first.events[-1] == second.events[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelled_by_another_is_an_error_to_the_client(stream):
    def cancelled(submission, _):
        usage = Usage(prompt_tokens=1, completion_tokens=0)
        submission.put(Done(id=submission.id, finish_reason="cancelled", usage=usage))

    async with open_door() as door:
        door.client.script = cancelled
        reply = await door.chat(stream=stream)

    assert reply.status == 500
    assert reply.error["code"] == "worker_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("leave", ["close", "abort"])
@pytest.mark.parametrize("updates", [(), (Progress(phase="queued"),), (Delta(id="12345678", text="x"),)])
async def test_a_client_that_leaves_is_cancelled(stream, leave, updates):
    async with open_door() as door:
        door.client.script = say_nothing
        connection = await door.raw(door.bytes_of("POST", PATH, chat_body(stream=stream)))
        await door.client.wait_for(lambda: door.client.submitted)
        submission, _ = door.client.submitted[0]
        for update in updates:
            submission.put(update)
        if leave == "close":
            connection.close()
        else:
            connection.writer.transport.abort()
        async with asyncio.timeout(CANCEL_S):
            await door.client.wait_for(lambda: door.client.cancelled)

    assert door.client.cancelled == [submission.id]


async def test_a_client_that_leaves_cancels_all_its_prompts():
    async with open_door() as door:
        door.client.script = say_nothing
        connection = await door.raw(
            door.bytes_of("POST", "/v1/completions", {**COMPLETION, "prompt": ["a", "b", "c"]})
        )
        await door.client.wait_for(lambda: len(door.client.submitted) == 3)
        connection.close()
        async with asyncio.timeout(CANCEL_S):
            await door.client.wait_for(lambda: len(door.client.cancelled) == 3)


async def test_what_ended_is_not_cancelled():
    async with open_door() as door:
        await door.chat(stream=True)
        await door.chat()

    assert door.client.cancelled == []


async def test_comments_say_what_is_waited_for():
    async with open_door(sse_keepalive_s=0.05) as door:
        door.client.script = say_nothing
        connection = await door.raw(door.bytes_of("POST", PATH, STREAM))
        await door.client.wait_for(lambda: door.client.submitted)
        submission, _ = door.client.submitted[0]
        assert b"200 OK" in await connection.head()
        await connection.until(b": keep-alive\n\n")
        submission.put(Progress(phase="load", fraction=0.42, detail="a\nb"))
        await connection.until(b": waiting for load 42%\n\n")
        submission.put(Progress(phase="queued"))
        await connection.until(b": waiting for queued\n\n")
        submission.put(Prefill(id=submission.id, num_done=512, num_total=2048))
        await connection.until(b": waiting for prefill 512/2048 tokens\n\n")
        for update in updates_of(submission, "Hi"):
            submission.put(update)
        rest = await connection.until(b"[DONE]\n\n")
        connection.close()

    assert b'"role":"assistant"' in rest


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, STREAM),
        ("/v1/responses", {"model": MODEL, "input": "x", "stream": True}),
        ("/v1/messages", {**chat_body(stream=True), "max_tokens": 9}),
    ],
)
async def test_progress_in_small_steps_leaves_no_client_in_silence(path, body):
    """The kernel tells of it more often than comments are due."""
    async with open_door(sse_keepalive_s=0.1) as door:
        door.client.script = say_nothing
        connection = await door.raw(door.bytes_of("POST", path, body))
        await door.client.wait_for(lambda: door.client.submitted)
        submission, _ = door.client.submitted[0]

        async def load() -> None:
            while True:
                submission.put(Progress(phase="load", fraction=0.5))
                await asyncio.sleep(0.01)

        loading = asyncio.create_task(load())
        try:
            for _ in range(2):
                await connection.until(b": waiting for load 50%\n\n")
        finally:
            loading.cancel()
            connection.close()


async def test_a_failure_after_a_comment_is_an_event():
    async with open_door(sse_keepalive_s=0.05) as door:
        door.client.script = say_nothing
        connection = await door.raw(door.bytes_of("POST", PATH, STREAM))
        await connection.until(b": keep-alive\n\n")
        door.client.submitted[0][0].put(QueueTimeout("waited too long"))
        rest = await connection.rest()

    assert b'"code":"queue_timeout"' in rest
    assert not rest.endswith(b"0\r\n\r\n")


async def test_a_whole_answer_is_silent_until_it_is_there():
    """Bytes before the JSON break clients."""
    async with open_door(sse_keepalive_s=0.05) as door:
        door.client.script = say_nothing
        connection = await door.raw(door.bytes_of("POST", PATH, chat_body()))
        await door.client.wait_for(lambda: door.client.submitted)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connection.reader.read(1)
        connection.close()


async def test_a_reader_that_takes_nothing_is_cut_off_at_the_limit():
    async with open_door() as door:
        door.client.script = say_nothing
        connection = await door.raw(b"")
        # Fills the sockets' buffers first, then ours.
        connection.writer.transport.pause_reading()
        connection.writer.write(door.bytes_of("POST", "/v1/completions", COMPLETION))
        await door.client.wait_for(lambda: door.client.submitted)
        submission, _ = door.client.submitted[0]
        for _ in range(1000):
            submission.put(Delta(id=submission.id, text="x" * 50_000))
            await asyncio.sleep(0)
            if door.client.cancelled:
                break
        await door.client.wait_for(lambda: door.client.cancelled)
        neighbour = asyncio.create_task(door.chat())
        await door.client.wait_for(lambda: len(door.client.submitted) == 2)
        for update in updates_of(door.client.submitted[1][0], "ok"):
            door.client.submitted[1][0].put(update)

        assert (await neighbour).status == 200
        connection.writer.transport.abort()


async def test_http_1_0_is_streamed_until_the_close():
    async with open_door() as door:
        request = door.bytes_of("POST", PATH, STREAM).replace(b"HTTP/1.1", b"HTTP/1.0")
        data = await (await door.raw(request)).rest()

    assert b"chunked" not in data.lower()
    assert data.endswith(b"data: [DONE]\n\n")


async def test_stopping_closes_the_port_and_lets_streams_end(monkeypatch):
    # The stream must live by itself, not by this grace.
    monkeypatch.setattr("plugins.http.frontend.CLOSE_TIMEOUT_S", 0.05)
    async with open_door() as door:
        door.client.script = say_nothing
        idle = await door.raw(door.bytes_of("GET", "/health"))
        await idle.reply()
        running = await door.raw(door.bytes_of("POST", PATH, STREAM))
        await door.client.wait_for(lambda: door.client.submitted)
        door.client.stopping.set()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await door.raw(b"")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await running.reader.read(1)
        for update in updates_of(door.client.submitted[0][0], "late"):
            door.client.submitted[0][0].put(update)
        data = await running.rest()

    assert b"late" in data
    assert data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_while_stopping_nothing_new_is_taken():
    async with open_door() as door:
        door.client.script = say_nothing
        running = await door.raw(door.bytes_of("POST", PATH, chat_body()))
        await door.client.wait_for(lambda: door.client.submitted)
        head, _, body = door.bytes_of("POST", PATH, chat_body(), Expect="100-continue").partition(b"\r\n\r\n")
        late = await door.raw(head + b"\r\n\r\n")
        await late.until(b"100 Continue\r\n\r\n")
        door.client.stopping.set()
        late.writer.write(body)
        reply = await late.reply()
        for update in updates_of(door.client.submitted[0][0], "ok"):
            door.client.submitted[0][0].put(update)
        answer = await running.reply()

    assert (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, "shutting_down", "1")
    assert reply.headers["connection"] == "close"
    assert answer.status == 200


async def test_a_bug_in_a_handler_is_an_error_of_the_server(capsys):
    def broken(submission, body):
        raise ZeroDivisionError("very secret")

    async with open_door() as door:
        door.client.script = broken
        reply = await door.chat()

    assert reply.status == 500
    assert reply.error["type"] == "server_error"
    assert "secret" not in reply.body.decode()
    assert "handler_failed" in capsys.readouterr().out
