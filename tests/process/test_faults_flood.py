"""A frontend floods the kernel: row 29. It is cut off by a limit, told why, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import zmq
from running import RunningKernel, add_echo_models, run_kernel

from transports import rundir
from transports.codec import decode_body
from transports.frames import join, parcel, split
from transports.messages import Failed, Hello
from transports.reports import OutcastInfo
from transports.settings import KernelSettings, Settings

FLOODER = Path(__file__).parents[1] / "benchmarks" / "flooder.py"
NUM_MESSAGES = 1_000_000
MODEL = "echo/plain"
# It stays until it is cut off, however slow the machine.
PATIENCE_MS = 60_000
# Of flooder.py.
KINDS = (
    "malformed",
    "unknown",
    "hellos",
    "pongs",
    "cancels",
    "submits",
    "no bodies",
    "questions",
    "huge",
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningKernel]:
    """One for all, with the limits that it has by default but for those of which a slow machine has less."""
    home = tmp_path_factory.mktemp("flood")
    add_echo_models(home)
    limits = KernelSettings(frontends=(), max_refused_per_s=2000, max_bytes_per_s=64 << 20)
    kernel = await run_kernel(Settings(kernel=limits), home)
    await kernel.load(MODEL)
    yield kernel
    await kernel.end()


@contextlib.asynccontextmanager
async def flooding(kernel: RunningKernel, kind: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that floods, which is gone after the block."""
    connection = rundir.locate(kernel.home) / "connection.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, FLOODER, connection, kind, str(NUM_MESSAGES), MODEL, str(PATIENCE_MS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n"
            process.stdin.write(b"begin\n")
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def newest_outcast(kernel: RunningKernel, known: tuple[OutcastInfo, ...]) -> OutcastInfo:
    """Wait until somebody else is cut off than before."""
    while True:
        found = (await kernel.client.status()).outcasts
        if found and (not known or found[-1].age_s < known[-1].age_s):
            return found[-1]
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "kind",
    ["malformed", "unknown", "hellos", "pongs", "cancels", "submits", "no bodies", "questions", "huge"],
)
async def test_a_flood_is_cut_off_and_others_are_served(kernel: RunningKernel, kind: str) -> None:
    known = (await kernel.client.status()).outcasts
    async with flooding(kernel, kind) as process:
        outcast = await newest_outcast(kernel, known)
        assert await kernel.say("still here") == "still here"
        assert process.returncode is None

    assert outcast.pid in (0, process.pid)
    assert "_per_s" in outcast.reason


async def test_a_reader_is_told_why_and_its_connection_is_closed(kernel: RunningKernel) -> None:
    connection = kernel.process.connection
    hello = Hello(
        role="frontend",
        kind="flood",
        name="reader",
        token=connection.token,
        pid=7,
        mlxd_version=connection.version,
    )
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.IDENTITY, b"a-reader")
    events = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    dealer.connect(connection.endpoint)
    dealer.send_multipart(join(parcel("hello", hello)))

    # Both end the thread, which nothing else could.
    dealer.setsockopt(zmq.SNDTIMEO, 5000)

    def until_told() -> Failed:
        for _ in range(5000):
            dealer.send(b"no envelope")
            while dealer.poll(1):
                message = split(dealer.recv_multipart(), 16)
                if message.envelope.type == "failed":
                    return decode_body(message.body, Failed)
        raise AssertionError("nothing was told")

    async with asyncio.timeout(10):
        failed = await asyncio.to_thread(until_told)
        dealer.send(b"more of it")
        while sys.platform == "linux" and not events.poll(0):
            dealer.send(b"more of it")
            await asyncio.sleep(0.02)
    dealer.disable_monitor()
    events.close(0)
    dealer.close(0)

    assert failed.code == "cut_off"
    assert "kernel.max_malformed_per_s" in failed.message
    assert (await kernel.client.status()).outcasts[-1].name == "reader"


async def test_a_message_that_never_ends_keeps_nobody_waiting(kernel: RunningKernel) -> None:
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.connect(kernel.process.connection.endpoint)
    for _ in range(1000):
        dealer.send(b"a part", zmq.SNDMORE)

    assert await kernel.say("still here") == "still here"
    dealer.close(0)
    assert await kernel.say("still here") == "still here"
