"""Real processes killed, stopped, flooded and lied to in every phase of their lives."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import zmq
from running import RunningKernel, StartKernel, add_model

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports.envelope import new_id
from transports.errors import MlxdError, ModelUnavailable, RequestTooLarge, ShuttingDown, WorkerCrashed
from transports.frames import join, parcel
from transports.messages import ChatMessage, ChatRequest, Delta, Done, Hello, Progress
from transports.reports import Admin, DoneReply, ModelsReply
from transports.settings import Settings


async def _text(kernel: RunningKernel, text: str, model: str = "echo/plain") -> str:
    async with kernel.ask(text, model=model) as answer:
        return "".join([update.text async for update in answer if isinstance(update, Delta)])


async def _until_gone(pids: list[int], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
            await asyncio.sleep(0.01)


async def _until_loading(kernel: RunningKernel, model: str, *, after: int = 0) -> int:
    """The pid of a worker, another than *after*, that has begun to load."""
    async with asyncio.timeout(10):
        while True:
            for worker in (await kernel.client.status()).workers:
                if worker.model == model and worker.state == "loading" and worker.pid not in (0, after):
                    return worker.pid
            await asyncio.sleep(0.01)


async def test_a_stopped_kernel_finds_its_workers_alive(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(heartbeat_s=0.1, dead_after_s=0.5)
    pid = await kernel.load("echo/slow")

    os.kill(kernel.pid, signal.SIGSTOP)
    await asyncio.sleep(1.5)
    os.kill(kernel.pid, signal.SIGCONT)

    connection = kernel.process.connection
    kernel.client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    assert await _text(kernel, "still here", model="echo/slow") == "still here"
    assert await kernel.worker_pid("echo/slow") == pid


async def test_a_client_that_stood_still_keeps_its_kernel(start_kernel: StartKernel) -> None:
    """The whole machine slept: both were stopped, and nobody is dead."""
    kernel = await start_kernel(heartbeat_s=0.1, dead_after_s=0.5)
    await kernel.load("echo/plain")

    os.kill(kernel.pid, signal.SIGSTOP)
    time.sleep(1.5)  # Our own loop stands still too.
    os.kill(kernel.pid, signal.SIGCONT)

    assert await _text(kernel, "still here") == "still here"


async def test_a_request_over_the_limit_fails_and_the_connection_stays(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(max_frame_bytes=100_000)

    async with asyncio.timeout(2):
        with pytest.raises(RequestTooLarge, match="max_frame_bytes"):
            await _text(kernel, "x" * 200_000)

    assert await _text(kernel, "small") == "small"


async def test_a_frontend_that_never_reads_is_dropped_and_disturbs_nobody(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(max_unsent=50, dead_after_s=60)
    await kernel.load("echo/faulty")
    connection = kernel.process.connection
    context = zmq.Context()
    deaf = context.socket(zmq.DEALER)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.setsockopt(zmq.LINGER, 0)
    deaf.connect(connection.endpoint)
    hello = Hello(
        role="frontend",
        kind="deaf",
        name="deaf",
        token=connection.token,
        pid=0,
        mlxd_version=connection.version,
    )
    deaf.send_multipart(join(parcel("hello", hello)))
    body = ChatRequest(messages=(ChatMessage(role="user", content="ENDLESS"),))
    for _ in range(8):
        submit = parcel("submit", body, ids=(new_id(),), model="echo/faulty", task="chat")
        deaf.send_multipart(join(submit))

    async def until_active(num_active: int) -> None:
        while (await kernel.client.status()).workers[0].num_active != num_active:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(60):
        await until_active(8)
        await until_active(0)
        assert await _text(kernel, "all slots are free again", "echo/faulty") == "all slots are free again"

    deaf.close()
    context.term()


async def test_an_engine_that_raises_ends_its_worker_with_a_reason(kernel: RunningKernel) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(WorkerCrashed, match="exit code 1: RuntimeError: raised as told"):
            await _text(kernel, "RAISE", model="echo/faulty")

        assert await _text(kernel, "again", model="echo/faulty") == "again"


async def test_a_worker_killed_while_it_loads_is_started_again(home: Path, start_kernel: StartKernel) -> None:
    add_model(home, "echo/heavy", load_s=0.5)
    kernel = await start_kernel()
    answer = asyncio.create_task(_text(kernel, "worth the wait", model="echo/heavy"))
    pid = await _until_loading(kernel, "echo/heavy")

    os.kill(pid, signal.SIGKILL)

    async with asyncio.timeout(10):
        assert await answer == "worth the wait"


async def test_a_model_that_dies_at_each_load_stays_down(home: Path, start_kernel: StartKernel) -> None:
    add_model(home, "echo/heavy", load_s=60)
    kernel = await start_kernel(restart_first_delay_s=0.05)
    answer = asyncio.create_task(_text(kernel, "never", model="echo/heavy"))
    pid = 0
    for _ in range(3):
        pid = await _until_loading(kernel, "echo/heavy", after=pid)
        os.kill(pid, signal.SIGKILL)

    async with asyncio.timeout(10):
        with pytest.raises(ModelUnavailable, match="signal 9"):
            await answer


async def test_unloading_a_model_that_loads_ends_it(home: Path, start_kernel: StartKernel) -> None:
    add_model(home, "echo/heavy", load_s=60)
    kernel = await start_kernel(stop_timeout_s=0.2)
    answer = asyncio.create_task(_text(kernel, "never", model="echo/heavy"))
    pid = await _until_loading(kernel, "echo/heavy")

    async with asyncio.timeout(5):
        await kernel.client.admin("unload", Admin(model="echo/heavy", force=True), DoneReply)

    assert not psutil.pid_exists(pid)
    with pytest.raises(ModelUnavailable, match="unloaded"):
        await answer


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.2, 0.4])
async def test_a_kernel_killed_while_its_children_start_leaves_none(home: Path, delay_s: float) -> None:
    process = await KernelProcess.start(Settings(), home)
    await asyncio.sleep(delay_s)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]

    os.kill(process.pid, signal.SIGKILL)

    await process.wait()
    await _until_gone(children, 2)


async def test_what_waits_is_told_that_the_kernel_ends(home: Path, start_kernel: StartKernel) -> None:
    add_model(home, "echo/heavy", load_s=60)
    kernel = await start_kernel()
    waiting = kernel.ask("hello", model="echo/heavy")
    await _until_loading(kernel, "echo/heavy")

    kernel.process.drain()
    await kernel.client.stopping.wait()
    kernel.process.drain()

    async with asyncio.timeout(2):
        with pytest.raises(ShuttingDown):
            while isinstance(await anext(waiting), Progress):
                pass


async def test_restarts_leave_no_descriptor_open(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(max_crashes=1000, restart_first_delay_s=0.001, restart_max_delay_s=0.001)
    pid = await kernel.load("echo/plain")
    num_before = psutil.Process(kernel.pid).num_fds()

    for _ in range(20):
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while (await kernel.worker_pid("echo/plain")) == pid:
                await asyncio.sleep(0.01)
            pid = await kernel.load("echo/plain")

    assert psutil.Process(kernel.pid).num_fds() <= num_before + 2


async def test_a_model_whose_name_is_no_text_harms_nobody(home: Path, kernel: RunningKernel) -> None:
    folder = home / "models" / "echo" / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "echo"}')

    models = (await kernel.client.admin("models.list", Admin(), ModelsReply)).models

    assert "echo/plain" in [model.name for model in models]


async def test_prompts_that_are_alike_are_not_mixed_up_while_workers_die(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(max_crashes=1000, restart_first_delay_s=0.001, restart_max_delay_s=0.001)
    await kernel.load("echo/slow")
    foreign: list[str] = []
    num_ended = 0

    async def client(number: int) -> None:
        nonlocal num_ended
        for turn in range(6):
            marker = f"<{number}.{turn}>"
            text = ""
            try:
                async with kernel.ask(f"{marker} " * 10, model="echo/slow") as answer:
                    async for update in answer:
                        text += update.text if isinstance(update, Delta) else ""
                        num_ended += isinstance(update, Done)
            except MlxdError:
                num_ended += 1
            foreign.extend(word for word in text.split() if word != marker)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        clients = [group.create_task(client(number)) for number in range(16)]
        while not all(task.done() for task in clients):
            await asyncio.sleep(0.3)
            if pid := await kernel.worker_pid("echo/slow"):
                os.kill(pid, signal.SIGKILL)

    assert num_ended == 16 * 6
    assert not foreign


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes the limits of another process")
async def test_without_descriptors_a_model_is_not_said_to_be_missing(
    home: Path, kernel: RunningKernel
) -> None:
    # Its first look at the disk is over.
    await kernel.say("x")
    add_model(home, "echo/new")
    process = psutil.Process(kernel.pid)
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (3, limits[1]))

    try:
        with pytest.raises(ModelUnavailable, match="Too many open files"):
            await kernel.say("x", model="echo/new")
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, limits)

    assert await kernel.say("x", model="echo/new") == "x"
