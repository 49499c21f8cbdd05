"""Garbage on the kernel's socket disturbs nobody, and no frame is ever run as code."""

from __future__ import annotations

import asyncio
import pickle
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import msgspec
import psutil
import pytest
import zmq
from running import RunningKernel, StartKernel

from transports import messages, rundir
from transports.codec import encode
from transports.envelope import Envelope, Message, MessageType
from transports.messages import Delta, Hello

SEED = 20_261_123
# Of all bodies.
FIELDS = sorted(
    {
        field
        for struct in vars(messages).values()
        if isinstance(struct, type) and issubclass(struct, Message)
        for field in struct.__struct_fields__
    }
)
HTTP = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
async def kernel(start_kernel: StartKernel) -> RunningKernel:
    """One that cuts nobody off, so that it reads all of it."""
    return await start_kernel(max_malformed_per_s=0)


@pytest.fixture
async def stranger(kernel: RunningKernel) -> AsyncIterator[zmq.Socket[bytes]]:
    """A socket that may say what it likes."""
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.setsockopt(zmq.IDENTITY, b"stranger")
    dealer.connect(kernel.process.connection.endpoint)
    yield dealer
    dealer.close(0)


async def answers(kernel: RunningKernel, text: str = "still here") -> bool:
    async with kernel.ask(text) as answer:
        return "".join([update.text async for update in answer if isinstance(update, Delta)]) == text


async def heard(kernel: RunningKernel, stranger: zmq.Socket[bytes]) -> None:
    """Wait until the kernel has read all that the stranger said: it answers what comes last."""
    stranger.send_multipart([encode(Envelope(version=1, type="submit", ids=("the-last-one",)))])
    async with asyncio.timeout(20):
        while True:
            while not stranger.poll(0):
                await asyncio.sleep(0.01)
            if b"the-last-one" in stranger.recv_multipart()[0]:
                return


@pytest.mark.parametrize(
    "text", [HTTP, b"", b"\x00" * 4096, b"\xff" * 64, b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03"]
)
async def test_bytes_that_are_not_zeromq_disturb_nobody(kernel: RunningKernel, text: bytes) -> None:
    path = str(rundir.locate(kernel.home) / "kernel.sock")

    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(path)
        raw.sendall(text)

        assert await answers(kernel)


async def test_random_frames_disturb_nobody(kernel: RunningKernel, stranger: zmq.Socket[bytes]) -> None:
    chance = random.Random(SEED)
    pid = await kernel.load("echo/plain")

    for _ in range(500):
        stranger.send_multipart(
            [chance.randbytes(chance.randrange(100)) for _ in range(chance.randrange(1, 6))]
        )
    await heard(kernel, stranger)

    assert await answers(kernel)
    assert await kernel.worker_pid("echo/plain") == pid


async def test_more_frames_than_allowed_disturb_nobody(
    kernel: RunningKernel, stranger: zmq.Socket[bytes]
) -> None:
    stranger.send_multipart([encode(Envelope(version=1, type="ping"))] * 5000)
    await heard(kernel, stranger)

    assert await answers(kernel)


async def test_bodies_with_absurd_promises_disturb_nobody(
    kernel: RunningKernel, stranger: zmq.Socket[bytes]
) -> None:
    before = psutil.Process(kernel.pid).memory_info().rss

    for opening in (b"\xdd\x00\x10\x00\x00", b"\xdf\x00\x00\x10\x00", b"\x91", b"\xdd\xff\xff\xff\xff"):
        stranger.send_multipart([encode(Envelope(version=1, type="hello")), opening * 1000])
    await heard(kernel, stranger)

    assert await answers(kernel)
    assert psutil.Process(kernel.pid).memory_info().rss - before < 64 << 20


async def test_a_token_that_is_not_ascii_disturbs_nobody(
    kernel: RunningKernel, stranger: zmq.Socket[bytes]
) -> None:
    hello = Hello(role="worker", kind="echo", name="x", token="größe", pid=1, mlxd_version="1")
    loading = asyncio.create_task(kernel.load("echo/plain"))

    stranger.send_multipart([encode(Envelope(version=1, type="hello")), encode(hello)])
    await heard(kernel, stranger)

    assert await loading
    assert await answers(kernel)


@pytest.mark.parametrize("position", ["envelope", "body", "buffer", "text field", "binary field"])
async def test_a_pickle_is_never_loaded(
    kernel: RunningKernel, stranger: zmq.Socket[bytes], tmp_path: Path, position: str
) -> None:
    """From a stranger and from a peer that said hello, in each message type."""
    file = tmp_path / "canary"
    canary = pickle.dumps(Canary(file))
    pickle.loads(canary)  # noqa: S301 - it sings
    assert file.exists()
    file.unlink()

    for say in (stranger.send_multipart, kernel.client._socket.send):
        for type_ in get_args(MessageType):
            if type_ != "bye":
                say(_with(position, type_, canary))
    await heard(kernel, stranger)

    assert await answers(kernel)
    assert not file.exists()


def _with(position: str, type_: MessageType, canary: bytes) -> list[bytes]:
    """A message of *type_* that holds the canary somewhere."""
    envelope: dict[str, object] = {
        "version": 1,
        "type": type_,
        "ids": [f"canary-{type_}"],
        "model": "echo/plain",
    }
    body: dict[str, object] = dict.fromkeys(FIELDS, "x")
    if position == "text field":
        envelope["client"] = canary.decode("latin-1")[:128]
        body |= dict.fromkeys(body, canary.decode("latin-1"))
    if position == "binary field":
        body |= dict.fromkeys([*body, "unknown"], canary)
    frames = [msgspec.msgpack.encode(envelope), msgspec.msgpack.encode(body), b"buffer"]
    if position in ("envelope", "body", "buffer"):
        frames[["envelope", "body", "buffer"].index(position)] = canary
    return frames
