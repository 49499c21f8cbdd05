"""However large and odd a body is, the event loop goes on turning: `open_door` fails where it does not."""

from __future__ import annotations

import asyncio
import socket

import pytest
from http_harness import Door, FakeClient, Submission, give, open_door, say
from large_bodies import BODIES, MODEL, LargeBody

from plugins.fingerprint import fingerprint
from transports.envelope import Message
from transports.frames import parcel
from transports.messages import ChatRequest
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
