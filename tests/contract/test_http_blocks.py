"""However large and odd a body is, the event loop goes on turning: `open_door` fails where it does not."""

from __future__ import annotations

import asyncio
import socket

import pytest
from http_harness import USAGE, Door, FakeClient, Submission, chat_body, give, open_door, say
from large_bodies import BODIES, MODEL, LargeBody

from plugins.fingerprint import fingerprint
from transports.envelope import Message
from transports.frames import parcel
from transports.messages import ChatRequest, Delta, Done, TokenLogprob
from transports.reports import ModelInfo
from transports.settings import MediaSettings
from transports.vectors import EmbeddingsRequest

TIMEOUT_S = 30.0


def encode_and_say(submission: Submission, body: Message) -> None:
    """What `KernelClient.submit` does with a request before it is sent."""
    task = "chat" if isinstance(body, ChatRequest) else "completion"
    parcel(
        "submit",
        body,
        ids=(submission.id,),
        model=MODEL,
        task=task,
        fingerprint=fingerprint(MODEL, task, body),
    )
    if isinstance(body, EmbeddingsRequest):
        give(*[[0.5] * 8] * len(body.input))(submission, body)
    else:
        say("hello")(submission, body)


async def send(door: Door, body: LargeBody) -> int:
    """The status of the answer; no copy is made of the body."""
    data = body.make()
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", door.port), timeout=TIMEOUT_S) as connection:
        connection.setblocking(False)
        async with asyncio.timeout(TIMEOUT_S):
            head = door.bytes_of("POST", body.path, Content_Length=str(len(data)))
            await loop.sock_sendall(connection, head)
            await loop.sock_sendall(connection, data)
            return int((await loop.sock_recv(connection, 65536))[9:12])


@pytest.mark.parametrize("name", BODIES)
async def test_no_body_stops_the_event_loop(name: str) -> None:
    client = FakeClient()
    client.script = encode_and_say
    client.more_models = (
        ModelInfo(
            name=MODEL,
            kind="vision",
            state="ready",
            source="folder",
            created=1,
            modalities=("text", "image"),
        ),
    )
    async with open_door(client, media=MediaSettings(num_decoders=1)) as door:
        status = await send(door, BODIES[name])

    assert BODIES[name].status == status


LOGPROB = TokenLogprob(token=" a", logprob=-1.5, token_bytes=b" a")
# As of 6000 tokens with the most alternatives there can be: 7 MB of JSON.
LOGPROBS = (TokenLogprob(token=" a", logprob=-0.5, token_bytes=b" a", top=(LOGPROB,) * 20),) * 6000


def say_with_logprobs(submission: Submission, _: Message) -> None:
    submission.put(Delta(id=submission.id, text=" a" * len(LOGPROBS), logprobs=LOGPROBS))
    submission.put(Done(id=submission.id, finish_reason="stop", usage=USAGE))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat_body(logprobs=True, top_logprobs=20)),
        ("/v1/responses", {"model": "demo/echo", "input": "hi", "top_logprobs": 20, "stream": True}),
    ],
)
async def test_no_answer_stops_the_event_loop(path: str, body: dict[str, object]) -> None:
    client = FakeClient()
    client.script = say_with_logprobs
    async with open_door(client) as door:
        connection = await door.raw(door.bytes_of("POST", path, body, Connection="close"))
        answer = await connection.rest()

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b'"logprob"') >= 21 * len(LOGPROBS)
