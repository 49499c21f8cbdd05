"""However large and odd a body is, the event loop goes on turning: `open_door` fails where it does not."""

from __future__ import annotations

import asyncio
import socket

import pytest
from http_harness import Door, FakeClient, Submission, give, open_door, say

from plugins.fingerprint import fingerprint
from transports.envelope import Message
from transports.frames import parcel
from transports.messages import ChatRequest
from transports.reports import ModelInfo
from transports.settings import MediaSettings
from transports.vectors import EmbeddingsRequest

MIB = 1024 * 1024
LARGE = 20 * MIB
# What `plugins.strict_json` lets through of a shape that is not a plain string.
DENSE = 4 * MIB - 64
TIMEOUT_S = 30.0

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}],'
TEXT = b'{"model":"m","messages":[{"role":"user","content":"'
PICTURE = b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"'
PROMPT = b'{"model":"m","prompt":'
RESPONSE = b'{"model":"m","input":['
MESSAGES = b'{"max_tokens":1,'
INPUTS = b'{"user":"u","model":"m","input":['
SHOWN = RESPONSE + b'{"role":"user","content":[{"type":"input_image","image_url":"'


def fill(begin: bytes, unit: bytes, end: bytes, size: int) -> bytes:
    return begin + unit * ((size - len(begin) - len(end)) // len(unit)) + end


def messages(num: int, size: int) -> bytes:
    one = b'{"role":"user","content":"%b"}' % (b"x" * size)
    return b'{"model":"m","messages":[' + b",".join([one] * num) + b"]}"


def items(num: int, size: int) -> bytes:
    one = b'{"role":"user","content":"%b"}' % (b"x" * size)
    return RESPONSE + b",".join([one] * num) + b"]}"


# Name -> a body, made when it is needed, and the status of its answer.
BODIES = {
    "numbers": (lambda: fill(CHAT + b'"x":[1', b",1", b"]}", LARGE), 400),
    "numbers as far as they are let": (
        lambda: fill(CHAT + b'"x":[1', b",1.5", b'],"temperature":"x"}', DENSE),
        400,
    ),
    "wrong tokens": (lambda: fill(PROMPT + b"[1", b",1.5", b"]}", DENSE), 400),
    "a million tokens": (lambda: fill(PROMPT + b"[1", b",1", b"]}", 2 * MIB), 200),
    "prompts": (lambda: fill(PROMPT + b"[[1", b"],[1", b"]]}", DENSE), 400),
    "spaces": (lambda: fill(CHAT, b" ", b'"x":1}', LARGE), 400),
    "deep nesting": (lambda: fill(CHAT + b'"x":', b"[", b"", LARGE), 400),
    "deep objects": (lambda: fill(CHAT + b'"x":', b'{"x":', b"", LARGE), 400),
    "escapes": (lambda: fill(TEXT, b"\\n", b'"}]}', LARGE), 400),
    "escapes as far as they are let": (lambda: fill(TEXT, b"\\n", b'"}]}', DENSE), 200),
    "escaped quotes": (lambda: fill(TEXT, b'\\"', b'"}]}', DENSE), 200),
    "backslashes": (lambda: fill(TEXT, b"\\\\", b'"}]}', DENSE), 200),
    "other letters": (lambda: fill(TEXT, "é".encode(), b'"}]}', DENSE), 200),
    "text": (lambda: fill(TEXT, b"a ", b'"}]}', 8 * MIB), 200),
    "too much text": (lambda: fill(TEXT, b"a ", b'"}]}', LARGE), 400),
    "a hundred thousand messages": (lambda: messages(100_000, 1), 400),
    "many messages": (lambda: messages(4096, 2000), 200),
    "keys": (lambda: CHAT + b'"logit_bias":{' + b",".join(b'"%d":1' % n for n in range(49_000)) + b"}}", 400),
    "a long key": (lambda: fill(CHAT + b'"', b"k", b'":1}', LARGE), 400),
    "a long number": (lambda: fill(CHAT + b'"seed":', b"1", b"}", LARGE), 400),
    "a picture": (lambda: fill(PICTURE + b"data:image/png;base64,", b"AAAA", b'"}}]}]}', LARGE), 415),
    "many items": (lambda: items(4096, 2000), 200),
    "an item of text": (lambda: fill(RESPONSE + b'{"role":"user","content":"', b"a ", b'"}]}', 8 * MIB), 200),
    "a picture in an item": (lambda: fill(SHOWN + b"data:image/png;base64,", b"AAAA", b'"}]}]}', LARGE), 415),
    "no end": (lambda: fill(CHAT + b'"x":"', b"a", b"", LARGE), 400),
    "a picture and an emoji": (
        lambda: fill(PICTURE + "🙂data:image/png;base64,".encode(), b"AAAA", b'"}}]}]}', LARGE),
        400,
    ),
    "many turns": (lambda: MESSAGES + messages(4096, 2000)[1:], 200),
    "inputs": (lambda: INPUTS + b",".join([b'"%b"' % (b"x" * 4000)] * 2048) + b"]}", 200),
    "no UTF-8": (lambda: fill(CHAT + b'"x":"', b"a", b'\xff"}', LARGE), 400),
}


def encode_and_say(submission: Submission, body: Message) -> None:
    """What `KernelClient.submit` does with a request before it is sent."""
    task = "chat" if isinstance(body, ChatRequest) else "completion"
    parcel(
        "submit", body, ids=(submission.id,), model="m", task=task, fingerprint=fingerprint("m", task, body)
    )
    if isinstance(body, EmbeddingsRequest):
        give(*[[0.5] * 1024] * len(body.input))(submission, body)
    else:
        say("hello")(submission, body)


async def send(door: Door, body: bytes) -> int:
    """The status of the answer; no copy is made of the body."""
    paths = {
        PROMPT: "/v1/completions",
        RESPONSE: "/v1/responses",
        MESSAGES: "/v1/messages",
        INPUTS: "/v1/embeddings",
    }
    path = next((path for begin, path in paths.items() if body.startswith(begin)), "/v1/chat/completions")
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", door.port), timeout=TIMEOUT_S) as connection:
        connection.setblocking(False)
        async with asyncio.timeout(TIMEOUT_S):
            await loop.sock_sendall(connection, door.bytes_of("POST", path, Content_Length=str(len(body))))
            await loop.sock_sendall(connection, body)
            return int((await loop.sock_recv(connection, 65536))[9:12])


@pytest.mark.parametrize("name", BODIES)
async def test_no_body_stops_the_event_loop(name: str) -> None:
    make, expected = BODIES[name]
    body = make()
    client = FakeClient()
    client.script = encode_and_say
    client.more_models = (
        ModelInfo(
            name="m", kind="vision", state="ready", source="folder", created=1, modalities=("text", "image")
        ),
    )
    async with open_door(client, media=MediaSettings(num_decoders=1)) as door:
        status = await send(door, body)

    assert status == expected
