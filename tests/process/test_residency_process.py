"""Models of real processes share a budget, leave when they are idle, and give their memory back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from running import RunningKernel, StartKernel, add_model

from transports.errors import CapacityError, InsufficientMemory
from transports.reports import Admin, DoneReply, ModelReport, StatusReply
from transports.settings import MIB, HttpSettings

A, B, HUGE = "echo/a", "echo/b", "echo/huge"
WEIGHTS = 60 * MIB
# For one of them and not for two.
BUDGET = 140 * MIB
TIMEOUT_S = 10.0


@pytest.fixture
def heavy_home(home: Path) -> Path:
    """Two echo models that do not fit together in `BUDGET`, and one that never does."""
    for name in (A, B):
        add_model(home, name, memory_bytes=WEIGHTS)
    add_model(home, HUGE, memory_bytes=1000 * MIB)
    return home


async def until(kernel: RunningKernel, is_so: Callable[[StatusReply], bool]) -> StatusReply:
    async with asyncio.timeout(TIMEOUT_S):
        while not is_so(status := await kernel.client.status()):
            await asyncio.sleep(0.02)
    return status


def loaded(status: StatusReply) -> set[str]:
    return {worker.model for worker in status.workers if worker.pid}


async def test_models_that_do_not_fit_together_take_turns(
    heavy_home: Path, start_kernel: StartKernel
) -> None:
    kernel = await start_kernel(memory_budget_bytes=BUDGET)

    for model in (A, B, A):
        assert await kernel.say("hello there", model=model) == "hello there"
        status = await kernel.client.status()

        assert loaded(status) == {model}
        assert status.workers[0].memory_bytes > WEIGHTS


async def test_many_clients_of_two_such_models_are_all_served(
    heavy_home: Path, start_kernel: StartKernel
) -> None:
    kernel = await start_kernel(memory_budget_bytes=BUDGET)

    answers = await asyncio.gather(
        *(kernel.say(f"number {i}", model=(A, B)[i % 2], max_tokens=100) for i in range(20))
    )

    assert answers == [f"number {i}" for i in range(20)]


async def test_first_requests_of_many_load_a_model_once(heavy_home: Path, start_kernel: StartKernel) -> None:
    add_model(heavy_home, "echo/lazy", load_s=0.3)
    kernel = await start_kernel()

    await asyncio.gather(*(kernel.say("x", model="echo/lazy") for _ in range(20)))

    lines = (heavy_home / "logs" / "kernel.log").read_text().splitlines()
    assert sum("model_ready" in line for line in lines) == 1


async def test_what_cannot_fit_is_refused_with_the_numbers(
    heavy_home: Path, start_kernel: StartKernel
) -> None:
    kernel = await start_kernel(memory_budget_bytes=BUDGET, http=HttpSettings(port=0))
    body = {"model": HUGE, "messages": [{"role": "user", "content": "x"}]}

    with pytest.raises(InsufficientMemory, match=r"weights 1\.0 GB.*models may have 147 MB"):
        await kernel.load(HUGE)
    async with (
        ClientSession(kernel.url) as session,
        session.post("/v1/chat/completions", json=body) as response,
    ):
        answer = await response.json()

    assert (response.status, answer["error"]["code"]) == (503, "insufficient_memory")
    report = await kernel.client.admin("models.show", Admin(model=HUGE), ModelReport)
    assert "models may have 147 MB" in report.refusal


async def test_an_idle_model_leaves_and_its_memory_is_back(
    heavy_home: Path, start_kernel: StartKernel
) -> None:
    kernel = await start_kernel(idle_unload_s=0.2)
    pid = await kernel.load(A)

    await until(kernel, lambda status: not loaded(status))

    assert not psutil.pid_exists(pid)


async def test_keep_alive_of_a_request_over_http(heavy_home: Path, start_kernel: StartKernel) -> None:
    kernel = await start_kernel(http=HttpSettings(port=0))
    body = {"model": A, "messages": [{"role": "user", "content": "x"}]}
    async with ClientSession(kernel.url) as session:
        async with session.post("/v1/chat/completions", json=body | {"keep_alive": "10m"}) as response:
            assert response.status == 200
        assert loaded(await kernel.client.status()) == {A}

        async with session.post("/v1/chat/completions", json=body | {"keep_alive": 0}) as response:
            assert response.status == 200

    await until(kernel, lambda status: not loaded(status))


async def test_a_pinned_model_stays(heavy_home: Path, start_kernel: StartKernel) -> None:
    kernel = await start_kernel(memory_budget_bytes=BUDGET, idle_unload_s=0.2)
    await kernel.client.admin("pin", Admin(model=A), DoneReply)
    pid = await kernel.load(A)

    with pytest.raises(InsufficientMemory, match="pinned ones hold"):
        await kernel.say("x", model=B)
    await asyncio.sleep(0.5)  # More than twice the idle time: nothing is to happen.

    status = await kernel.client.status()
    assert (await kernel.worker_pid(A), status.workers[0].is_pinned) == (pid, True)


async def test_while_memory_is_short_no_model_is_loaded(heavy_home: Path, start_kernel: StartKernel) -> None:
    kernel = await start_kernel(
        http=HttpSettings(port=0), min_available_bytes=2**60, memory_interval_s=0.1, pressure_wait_s=0.3
    )
    await until(kernel, lambda status: status.memory is not None and status.memory.pressure != "")
    body = {"model": A, "messages": [{"role": "user", "content": "x"}]}

    with pytest.raises(CapacityError, match=r"kernel\.min_available_bytes"):
        await kernel.load(A)
    async with (
        ClientSession(kernel.url) as session,
        session.post("/v1/chat/completions", json=body) as response,
    ):
        answer = await response.json()

    assert (response.status, answer["error"]["code"]) == (503, "overloaded")
    assert response.headers["Retry-After"] == "10"


async def test_when_memory_gets_short_idle_models_leave(home: Path, start_kernel: StartKernel) -> None:
    """One that takes 2 GiB brings the system below what must stay free; when it left there is enough."""
    available_bytes = psutil.virtual_memory().available
    if available_bytes < 6 * 1024 * MIB:
        pytest.skip("needs 6 GiB of free memory")
    add_model(home, A, memory_bytes=2048 * MIB)
    must_stay_free = available_bytes - 1024 * MIB
    kernel = await start_kernel(
        memory_budget_bytes=2**40,
        min_available_bytes=must_stay_free,
        memory_interval_s=0.1,
        idle_unload_s=0,
    )
    pid = await kernel.load(A)

    status = await until(kernel, lambda status: not loaded(status))

    assert status.memory is not None
    assert not psutil.pid_exists(pid)
    # Tests beside this one load models of their own; while they have what this one had, it stays short.
    await until(
        kernel,
        lambda status: (
            (status.memory is not None and status.memory.pressure == "")
            or psutil.virtual_memory().available < must_stay_free
        ),
    )
