"""What clients do to a server, rows 17, 18 and 21: they leave in any phase, read nothing, or just vanish."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from running import RunningKernel, StartKernel, add_model

from transports.settings import HttpSettings

LINGER_NONE = struct.pack("ii", 1, 0)
ENDLESS = " ".join(["word"] * 5000)
LONG = " ".join(f"word{i}" for i in range(100))
VANISHED = Path(__file__).with_name("vanished_client.py")


@asynccontextmanager
async def asking(kernel: RunningKernel, model: str, **fields: object) -> AsyncIterator[socket.socket]:
    """A chat over a plain socket that reads nothing by itself; it is closed by FIN when the block is left."""
    host, port = kernel.url.removeprefix("http://").split(":")
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": ENDLESS}], **fields}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plain, (host, int(port)))
        await loop.sock_sendall(plain, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield plain


async def until_requests(kernel: RunningKernel, running: int, waiting: int = 0) -> None:
    async with asyncio.timeout(10):
        while True:
            workers = (await kernel.client.status()).workers
            if (sum(w.num_active for w in workers), sum(w.num_queued for w in workers)) == (running, waiting):
                return
            await asyncio.sleep(0.01)


def reset(plain: socket.socket) -> None:
    """Go away by RST."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    plain.close()


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["running", "answering", "waiting", "loading"])
async def test_whoever_leaves_frees_a_slot_within_a_second(
    home: Path, start_kernel: StartKernel, phase: str, stream: bool, leave
) -> None:
    add_model(home, "echo/heavy", num_slots=1, step_s=0.01, load_s=0.5)
    kernel = await start_kernel(http=HttpSettings(port=0))
    model = "echo/heavy" if phase == "loading" else "echo/narrow"
    if phase != "loading":
        await kernel.load(model)

    async with asking(kernel, model, stream=stream) as first:
        if phase == "waiting":
            await until_requests(kernel, 1)
            async with asking(kernel, model, stream=stream) as second:
                await until_requests(kernel, 1, 1)
                leave(second)
                async with asyncio.timeout(1):
                    await until_requests(kernel, 1, 0)
        elif phase != "loading":
            await until_requests(kernel, 1)
            if phase == "answering" and stream:
                await asyncio.get_running_loop().sock_recv(first, 4096)
        else:
            await until_requests(kernel, 0, 1)
        leave(first)

        async with asyncio.timeout(1):
            await until_requests(kernel, 0, 0)
    # Nothing of it goes on when the model is there.
    assert await kernel.say("next", model=model) == "next"


async def test_a_reader_that_takes_nothing_costs_nobody_else(home: Path, start_kernel: StartKernel) -> None:
    """Row 17: it is cut off, the kernel keeps nothing for it, and other streams are whole."""
    add_model(home, "echo/flood", faults=True, context_length=10**9)
    kernel = await start_kernel(http=HttpSettings(port=0, write_timeout_s=1.0))
    await kernel.load("echo/slow")
    process = psutil.Process(kernel.pid)
    endless = [{"role": "user", "content": "ENDLESS"}]

    before = process.memory_info().rss
    async with asking(kernel, "echo/flood", stream=True, messages=endless):
        undisturbed = asyncio.create_task(kernel.say(LONG, model="echo/slow"))
        async with asyncio.timeout(30):
            await until_requests(kernel, 2)
            while any(
                w.num_active for w in (await kernel.client.status()).workers if w.model == "echo/flood"
            ):
                await asyncio.sleep(0.05)

    assert await undisturbed == LONG
    assert process.memory_info().rss - before < 8 << 20


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("ip"),
    reason="needs unshare and ip of Linux",
)
def test_a_client_whose_network_is_gone_frees_its_slot(home: Path) -> None:
    """Row 21: no FIN, no RST, nothing. In a network of its own, whose loopback goes down."""
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, VANISHED, home]
    allowed = subprocess.run([*command[:4], "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("this system allows no network namespaces")

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert {kind: seconds < 8 for kind, seconds in json.loads(done.stdout).items()} == {
        "streamed": True,
        "whole": True,
    }
