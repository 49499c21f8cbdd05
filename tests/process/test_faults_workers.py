"""What a worker can do wrong, each alone: its own requests end with the reason, nobody else's do."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from control_groups import control_group
from running import RunningKernel, StartKernel, add_model

from transports.errors import (
    MlxdError,
    ModelUnavailable,
    OutOfMemory,
    WorkerCrashed,
    WorkerError,
    WorkerHung,
)
from transports.messages import Delta, Done
from transports.settings import HttpSettings

LONG = " ".join(f"word{i}" for i in range(100))
MIB = 1 << 20


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("CRASH", "signal 6"),
        # Row 2: as Metal does it when memory ends, where nobody can catch it.
        ("CRASH_THREAD", "signal 6"),
        ("SEGFAULT", "signal 11"),
        ("EXIT", "exit code 3"),
        ("RAISE", "exit code 1: RuntimeError: raised as told"),
    ],
)
async def test_a_worker_that_dies_says_how_and_harms_no_other(
    kernel: RunningKernel, word: str, reason: str
) -> None:
    await kernel.load("echo/faulty")
    undisturbed = asyncio.create_task(kernel.say(LONG, model="echo/slow"))
    neighbour = kernel.ask(LONG, model="echo/faulty")
    while not isinstance(await anext(neighbour), Delta):
        pass

    async with asyncio.timeout(10):
        with pytest.raises(WorkerCrashed, match=reason):
            await kernel.say(word, model="echo/faulty")
        with pytest.raises(WorkerCrashed, match=reason):
            while True:
                await anext(neighbour)

    assert await kernel.say("again", model="echo/faulty") == "again"
    assert await undisturbed == LONG


async def test_an_idle_worker_that_is_killed_is_noticed_by_nobody(start_kernel: StartKernel) -> None:
    """Row 3."""
    kernel = await start_kernel(max_crashes=1000, restart_first_delay_s=0.001, restart_max_delay_s=0.001)
    pid = await kernel.load("echo/plain")

    for turn in range(5):
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while (pid_now := await kernel.worker_pid("echo/plain")) in (0, pid):
                await asyncio.sleep(0.01)
            pid = pid_now
            assert await kernel.say(f"turn {turn}") == f"turn {turn}"


async def test_frozen_workers_are_ended_within_6_s(kernel: RunningKernel) -> None:
    """Rows 5 and 6 with the default settings: SIGSTOP, and a library that never gives the GIL back."""
    frozen = await kernel.load("echo/slow")
    await kernel.load("echo/faulty")
    began_s = time.monotonic()

    async def ends_hung(text: str, model: str) -> float:
        with pytest.raises(WorkerHung, match="no sign of life for 5 s"):
            await kernel.say(text, model=model)
        return time.monotonic() - began_s

    os.kill(frozen, signal.SIGSTOP)
    took_s = await asyncio.gather(ends_hung("x", "echo/slow"), ends_hung("HANG_GIL", "echo/faulty"))

    assert max(took_s) < 6.5


async def test_a_slow_worker_lives_and_its_client_hears_that_it_does(
    home: Path, start_kernel: StartKernel
) -> None:
    """Row 8: tokens slower than the heartbeat, faster than the limit of hanging."""
    add_model(home, "echo/tired", step_s=0.6)
    kernel = await start_kernel(
        http=HttpSettings(port=0, sse_keepalive_s=0.2),
        heartbeat_s=0.1,
        dead_after_s=0.5,
        hung_after_s=1.5,
        prefill_hung_after_s=1.5,
    )
    body = {
        "model": "echo/tired",
        "stream": True,
        "messages": [{"role": "user", "content": "one two three four"}],
    }

    async with (
        ClientSession(kernel.url) as session,
        session.post("/v1/chat/completions", json=body) as reply,
    ):
        text = await reply.text()

    assert text.endswith("data: [DONE]\n\n")
    assert text.count("\n: keep-alive\n") >= 3


@pytest.mark.skipif(sys.platform != "linux", reason="no limit for another process")
async def test_a_worker_without_memory_ends_alone(kernel: RunningKernel) -> None:
    """Row 9 where the system refuses memory: allocating fails."""
    worker = psutil.Process(await kernel.load("echo/faulty"))
    most = worker.memory_info().vms + 200 * MIB
    worker.rlimit(resource.RLIMIT_AS, (most, most))
    undisturbed = asyncio.create_task(kernel.say(LONG, model="echo/slow"))

    async with asyncio.timeout(20):
        # Without memory it takes a while to end: its connection may be missed before.
        with pytest.raises(WorkerError, match=r"MemoryError|its connection was lost"):
            await kernel.say("ALLOCATE", model="echo/faulty")

    assert await undisturbed == LONG
    assert await kernel.say("again", model="echo/faulty") == "again"


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
async def test_a_worker_that_the_system_kills_for_memory_says_so(kernel: RunningKernel) -> None:
    """Row 9, for real: the system's own kill, by a control group."""
    pid = await kernel.load("echo/faulty")
    undisturbed = asyncio.create_task(kernel.say(LONG, model="echo/slow"))

    with control_group("memory", {"memory.max": 64 * MIB}) as members:
        members.write_text(str(pid))
        async with asyncio.timeout(20):
            with pytest.raises(WorkerError, match=r"SIGKILL\), sent by the system because memory ran out"):
                await kernel.say("ALLOCATE", model="echo/faulty")

    assert await undisturbed == LONG
    assert await kernel.say("again", model="echo/faulty") == "again"


async def test_a_request_without_memory_fails_alone(kernel: RunningKernel) -> None:
    """Row 10."""
    pid = await kernel.load("echo/faulty")
    neighbour = asyncio.create_task(kernel.say(LONG, model="echo/faulty"))

    with pytest.raises(OutOfMemory):
        await kernel.say("OUT_OF_MEMORY", model="echo/faulty")

    assert await neighbour == LONG
    assert await kernel.worker_pid("echo/faulty") == pid


async def test_crashes_under_traffic_are_bounded_and_end_with_another_try(start_kernel: StartKernel) -> None:
    """Row 12: each request kills; soon none reaches the model, and after a while one does again."""
    kernel = await start_kernel(restart_first_delay_s=0.01, restart_max_delay_s=0.05, crash_loop_retry_s=1.0)
    codes = []

    async with asyncio.timeout(60):
        for turn in range(30):
            try:
                # Another length each time: the same request again would be known as poison.
                await kernel.say("CRASH", model="echo/faulty", max_tokens=turn + 1)
            except MlxdError as e:
                codes.append(e.code)
            if codes[-1:] == [ModelUnavailable.code]:
                break
        worker = next(w for w in (await kernel.client.status()).workers if w.model == "echo/faulty")

        assert codes == [WorkerCrashed.code] * (len(codes) - 1) + [ModelUnavailable.code]
        assert worker.num_restarts <= 6
        # Why it is down, and where it was.
        assert worker.error == "signal 6 (SIGABRT)"
        assert worker.last_words[0] == "Fatal Python error: Aborted"
        assert any("in strike" in line for line in worker.last_words)
        assert await kernel.say("fine") == "fine"
        # The one try, which succeeds this time.
        while True:
            try:
                assert await kernel.say("fine", model="echo/faulty") == "fine"
                break
            except ModelUnavailable:
                await asyncio.sleep(0.05)


async def test_a_worker_that_is_killed_in_every_phase_ends_each_request_once(
    home: Path, start_kernel: StartKernel
) -> None:
    """Row 4: at any moment of a load, a request that waits is served or told why not."""
    add_model(home, "echo/heavy", load_s=0.3)
    kernel = await start_kernel(max_crashes=1000, restart_first_delay_s=0.001, max_start_crashes=1000)

    for delay_s in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        async with kernel.ask("worth the wait", model="echo/heavy") as answer:
            await asyncio.sleep(delay_s)
            if pid := await kernel.find_worker("echo/heavy"):
                os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(10):
                try:
                    ends = [update async for update in answer if isinstance(update, Done)]
                except WorkerCrashed:
                    ends = ["crashed"]
        assert len(ends) == 1
