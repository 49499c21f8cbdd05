"""Workers that break the protocol or never begin to speak it: rows 11 and 47."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest
from running import RunningKernel, StartKernel
from stand_in import MODEL, stand_in, stand_in_liar

from transports.errors import MlxdError, ModelUnavailable, WorkerError
from transports.messages import Delta

CRASHES = """#!/bin/sh
echo "libmlx.so: cannot open shared object file" >&2
exit 1
"""


@pytest.fixture
async def liar(home: Path, start_kernel: StartKernel) -> RunningKernel:
    """A kernel whose model `MODEL` lies as its prompt tells it."""
    stand_in_liar(home)
    return await start_kernel(
        heartbeat_s=0.1, hung_after_s=1.0, prefill_hung_after_s=1.0, restart_first_delay_s=0.01
    )


async def test_an_environment_that_cannot_start_is_given_up_within_10_s(
    home: Path, start_kernel: StartKernel
) -> None:
    stand_in(home, CRASHES)
    kernel = await start_kernel()
    began_s = time.monotonic()

    with pytest.raises(ModelUnavailable, match=r"libmlx\.so: cannot open shared object file"):
        await kernel.say("x", model=MODEL)

    assert time.monotonic() - began_s < 10
    status = await kernel.client.status()
    assert [worker.state for worker in status.workers] == ["crash-looped"]
    assert await kernel.say("others are fine") == "others are fine"
    process = psutil.Process(kernel.pid)
    before_s = sum(process.cpu_times()[:2])
    await asyncio.sleep(2)
    assert (sum(process.cpu_times()[:2]) - before_s) / 2 < 0.05


@pytest.mark.parametrize("lie", ["TWO_ENDS", "AFTER_THE_END"])
async def test_what_comes_after_the_end_ends_the_worker_and_not_the_answer(
    liar: RunningKernel, lie: str
) -> None:
    pid = await liar.load(MODEL)

    assert await liar.say(lie, model=MODEL) == "said"

    async with asyncio.timeout(10):
        while await liar.find_worker(MODEL) in (0, pid):
            await asyncio.sleep(0.01)
        assert await liar.say("honest", model=MODEL) == "honest"


@pytest.mark.parametrize("lie", ["UNKNOWN_ID", "NONSENSE"])
async def test_a_worker_that_breaks_the_protocol_is_replaced(liar: RunningKernel, lie: str) -> None:
    undisturbed = asyncio.create_task(liar.say("word " * 50, model="echo/slow"))

    async with asyncio.timeout(10):
        with pytest.raises(WorkerError):
            await liar.say(lie, model=MODEL)
        assert await liar.say("honest", model=MODEL) == "honest"

    assert await undisturbed == "word " * 49 + "word"


async def test_a_body_about_another_request_reaches_nobody(liar: RunningKernel) -> None:
    async with asyncio.timeout(10), liar.ask("WAIT", model=MODEL) as victim:
        while not isinstance(await anext(victim), Delta):
            pass

        assert await liar.say("FOREIGN_ITEM", model=MODEL) == "own"
        heard = [update.text for update in victim.ready() if isinstance(update, Delta)]

        assert heard == []


@pytest.mark.parametrize("lie", ["NO_END", "NO_END_BUSY", "END_IN_ENVELOPE_ONLY"])
async def test_a_request_whose_end_never_comes_is_ended(liar: RunningKernel, lie: str) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(MlxdError):
            await liar.say(lie, model=MODEL)

        assert await liar.say("honest", model=MODEL) == "honest"


async def test_a_request_that_its_worker_forgets_while_it_works_on_ends_alone(liar: RunningKernel) -> None:
    pid = await liar.load(MODEL)
    async with asyncio.timeout(10), liar.ask("WAIT", model=MODEL) as other:
        while not isinstance(await anext(other), Delta):
            pass

        with pytest.raises(WorkerError, match="has lost this request"):
            await liar.say("FORGETS", model=MODEL)

        assert [1] == [w.num_active for w in (await liar.client.status()).workers if w.model == MODEL]
    assert pid == await liar.find_worker(MODEL)


async def test_a_slot_whose_end_the_kernel_never_sees_is_freed(liar: RunningKernel) -> None:
    pid = await liar.load(MODEL)

    # Complete for the client; the kernel does not read bodies.
    assert await liar.say("END_IN_BODY_ONLY", model=MODEL) == "said"

    async with asyncio.timeout(10):
        while await liar.find_worker(MODEL) in (0, pid):
            await asyncio.sleep(0.05)
        assert await liar.say("honest", model=MODEL) == "honest"
