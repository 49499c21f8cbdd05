"""A frontend floods the kernel: row 29. It is cut off by a limit, told why, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import zmq
from running import RunningKernel, add_echo_models, run_kernel

from plugins.client import KernelClient
from transports import rundir
from transports.reports import OutcastInfo
from transports.settings import KernelSettings, Settings

FLOODER = Path(__file__).parents[1] / "benchmarks" / "flooder.py"
READER = Path(__file__).with_name("flood_reader.py")
NUM_MESSAGES = 1_000_000
MODEL = "echo/plain"
# It stays until it is cut off, however slow the machine.
PATIENCE_MS = 60_000
# For the reader to come back while it is out, and to wait for the end of it.
CUT_OFF_S = 2.0
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
    limits = KernelSettings(
        frontends=(), max_refused_per_s=2000, max_bytes_per_s=64 << 20, cut_off_s=CUT_OFF_S
    )
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


async def newest_outcast(kernel: RunningKernel, since_s: float) -> OutcastInfo:
    """Wait until somebody is cut off after *since_s*, monotonic."""
    while True:
        asked_s = time.monotonic()
        found = (await kernel.client.status()).outcasts
        if found and asked_s - found[-1].age_s >= since_s:
            return found[-1]
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_is_cut_off_and_others_are_served(kernel: RunningKernel, kind: str) -> None:
    began_s, door = time.monotonic(), kernel.process.connection
    async with flooding(kernel, kind) as process:
        outcast = await newest_outcast(kernel, began_s)
        assert await kernel.say("still here") == "still here"
        # Another process of the same user, which comes only now.
        await (await KernelClient.connect(door.endpoint, door.token, kind="newcomer")).close()
        assert process.returncode is None

    assert outcast.pid in (0, process.pid)
    assert "_per_s" in outcast.reason


async def test_a_reader_is_told_why_and_is_not_let_in_for_a_while(kernel: RunningKernel) -> None:
    connection = rundir.locate(kernel.home) / "connection.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, READER, connection), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    told, *closed = output.decode().splitlines()

    assert told.startswith("cut_off ")
    assert "kernel.max_malformed_per_s" in told
    # Its first connection, the next, and the first after its time.
    assert closed == (["closed", "nothing", "welcome"] if sys.platform == "linux" else [])
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
