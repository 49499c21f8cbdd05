"""A real kernel with real echo workers: what breaks, breaks alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from running import RunningKernel, StartKernel

from plugins.client import KernelClient
from plugins.launch import KernelProcess
from transports import rundir
from transports.errors import KernelUnavailable, MlxdError, WorkerCrashed, WorkerError, WorkerHung
from transports.messages import Delta, Done
from transports.reports import Admin, DoneReply
from transports.settings import KernelSettings, Settings


async def _text(kernel: RunningKernel, text: str, **fields: object) -> str:
    async with kernel.ask(text, **fields) as answer:  # type: ignore[arg-type]
        return "".join([update.text async for update in answer if isinstance(update, Delta)])


async def _until_gone(pid: int, timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def test_an_answer_comes_back_word_for_word(kernel: RunningKernel) -> None:
    assert await _text(kernel, "one two  three\nfour") == "one two  three\nfour"


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="this system tells nobody another's limits")
async def test_no_process_leaves_its_memory_in_a_core_dump(kernel: RunningKernel) -> None:
    worker = psutil.Process(await kernel.load("echo/plain"))
    parent = worker.parent()

    assert parent is not None
    assert parent.rlimit(psutil.RLIMIT_CORE) == worker.rlimit(psutil.RLIMIT_CORE) == (0, 0)


async def test_two_clients_at_once_load_the_model_once(kernel: RunningKernel) -> None:
    await asyncio.gather(_text(kernel, "a"), _text(kernel, "b"))

    workers = (await kernel.client.status()).workers
    assert [worker.model for worker in workers] == ["echo/plain"]


async def test_200_requests_at_once_get_their_own_answers(kernel: RunningKernel) -> None:
    texts = [f"marker-{i} of request {i}" for i in range(64)]

    answers = await asyncio.gather(*[_text(kernel, text, model="echo/slow") for text in texts])

    assert answers == texts


async def test_a_killed_worker_fails_its_streams_at_once(kernel: RunningKernel) -> None:
    pid = await kernel.load("echo/faulty")
    streams = [kernel.ask("ENDLESS", model="echo/faulty") for _ in range(8)]
    for stream in streams:
        while not isinstance(await anext(stream), Delta):
            pass

    killed_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(WorkerCrashed):
            while True:
                await anext(stream)

    # Long before any heartbeat could notice; benchmarks/bench_faults.py has the exact figure.
    assert time.monotonic() - killed_s < 2
    assert await _text(kernel, "still here", model="echo/faulty") == "still here"


async def test_other_models_do_not_notice_a_crash(kernel: RunningKernel) -> None:
    await kernel.load("echo/faulty")
    text = " ".join(f"word{i}" for i in range(100))
    undisturbed = asyncio.create_task(_text(kernel, text, model="echo/slow"))

    with pytest.raises(WorkerCrashed, match="signal 6"):
        await _text(kernel, "CRASH", model="echo/faulty")

    assert await undisturbed == text


async def test_one_failing_request_leaves_its_neighbours_alone(kernel: RunningKernel) -> None:
    pid = await kernel.load("echo/faulty")
    text = " ".join(f"word{i}" for i in range(50))
    neighbour = asyncio.create_task(_text(kernel, text, model="echo/faulty"))

    with pytest.raises(WorkerError, match="failed as told"):
        await _text(kernel, "FAIL", model="echo/faulty")

    assert await neighbour == text
    assert await kernel.worker_pid("echo/faulty") == pid


async def test_a_hung_worker_is_ended_although_its_heart_beats(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(heartbeat_s=0.1, hung_after_s=1.0, prefill_hung_after_s=1.0)

    with pytest.raises(WorkerHung, match="no progress"):
        await _text(kernel, "HANG", model="echo/faulty")

    assert await _text(kernel, "again", model="echo/faulty") == "again"


async def test_a_frozen_worker_is_ended(start_kernel: StartKernel) -> None:
    kernel = await start_kernel(heartbeat_s=0.1, dead_after_s=0.6)
    pid = await kernel.load("echo/slow")

    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(WorkerHung, match="no sign of life"):
        await _text(kernel, "hello", model="echo/slow")
    await _until_gone(pid, 2)


async def test_leaving_a_stream_frees_its_slot(kernel: RunningKernel) -> None:
    await kernel.load("echo/narrow")
    async with kernel.ask("a " * 1000, model="echo/narrow") as stream:
        while not isinstance(await anext(stream), Delta):
            pass

    started_s = time.monotonic()
    assert await _text(kernel, "next", model="echo/narrow") == "next"
    assert time.monotonic() - started_s < 1


async def test_a_frontend_that_is_gone_frees_its_slots(kernel: RunningKernel) -> None:
    connection = kernel.process.connection
    await kernel.load("echo/narrow")
    other = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    stream = RunningKernel(kernel.home, kernel.process, other).ask("a " * 1000, model="echo/narrow")
    while not isinstance(await anext(stream), Delta):
        pass

    other.set_lost()  # Closes the socket without a bye, as a killed process would.

    async with asyncio.timeout(2):
        assert await _text(kernel, "next", model="echo/narrow") == "next"


async def test_an_idle_worker_that_dies_is_replaced(kernel: RunningKernel) -> None:
    pid = await kernel.load("echo/plain")

    os.kill(pid, signal.SIGKILL)

    async with asyncio.timeout(5):
        while await kernel.worker_pid("echo/plain") in (0, pid):
            await asyncio.sleep(0.02)


async def test_a_killed_kernel_leaves_no_process_behind(home: Path) -> None:
    process = await KernelProcess.start(Settings(), home)
    connection = process.connection
    client = await KernelClient.connect(connection.endpoint, connection.token, kind="test")
    running = RunningKernel(home, process, client)
    worker_pid = await running.load("echo/slow")
    frontend_pids = [f.pid for f in (await client.status()).frontends if f.supervised and f.pid]

    answer = asyncio.create_task(running.say("word " * 1000, model="echo/slow"))
    while (await client.status()).workers[0].num_active == 0:
        await asyncio.sleep(0.01)

    os.kill(process.pid, signal.SIGKILL)

    async with asyncio.timeout(2):  # Nobody waits for pings that will not come.
        with pytest.raises(KernelUnavailable):
            await answer
    await process.wait()
    for pid in (worker_pid, *frontend_pids):
        await _until_gone(pid, 2)
    # The next kernel starts over what the dead one left.
    again = await KernelProcess.start(Settings(kernel=KernelSettings(frontends=())), home)
    again.drain()
    assert await again.wait() == 0
    assert not rundir.locate(home).exists()


async def test_a_second_kernel_is_refused_and_the_first_goes_on(kernel: RunningKernel) -> None:
    with pytest.raises(KernelUnavailable, match=rf"running here already \(pid {kernel.pid}\)"):
        await KernelProcess.start(Settings(kernel=KernelSettings(frontends=())), kernel.home)

    assert await _text(kernel, "still here") == "still here"


async def test_draining_finishes_what_runs(kernel: RunningKernel) -> None:
    text = " ".join(f"word{i}" for i in range(50))
    async with kernel.ask(text, model="echo/slow") as stream:
        while not isinstance(await anext(stream), Delta):
            pass
        kernel.process.drain()
        updates = [update async for update in stream]

    assert isinstance(updates[-1], Done)
    assert updates[-1].finish_reason == "stop"
    async with asyncio.timeout(3):
        assert await kernel.process.wait() == 0


async def test_ending_now_fails_what_runs(kernel: RunningKernel) -> None:
    stream = kernel.ask("ENDLESS", model="echo/faulty")
    while not isinstance(await anext(stream), Delta):
        pass

    kernel.process.drain()
    kernel.process.end()

    async with asyncio.timeout(2):
        await kernel.process.wait()
        with pytest.raises(MlxdError):
            while True:
                await anext(stream)


async def test_unloading_gives_the_process_back(kernel: RunningKernel) -> None:
    pid = await kernel.load("echo/plain")

    await kernel.client.admin("unload", Admin(model="echo/plain"), DoneReply)

    assert not psutil.pid_exists(pid)
    assert not (await kernel.client.status()).workers


async def test_a_wrong_token_is_refused(kernel: RunningKernel) -> None:
    with pytest.raises(MlxdError, match="token"):
        await KernelClient.connect(kernel.process.connection.endpoint, "guess", kind="test")


async def test_the_run_directory_is_private(kernel: RunningKernel) -> None:
    run_dir = rundir.locate(kernel.home)

    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert (run_dir / "connection.json").stat().st_mode & 0o777 == 0o600


async def test_no_secret_stands_in_arguments_or_environment(kernel: RunningKernel) -> None:
    worker = psutil.Process(await kernel.load("echo/plain"))
    token = kernel.process.connection.token

    for process in (worker, psutil.Process(kernel.pid)):
        assert token not in " ".join(process.cmdline())
        assert token not in " ".join(process.environ().values())


async def test_a_worker_gets_no_secrets_of_the_environment(
    start_kernel: StartKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_classified")
    monkeypatch.setenv("OPENAI_API_KEY", "sk_classified")
    kernel = await start_kernel()

    worker = psutil.Process(await kernel.load("echo/plain"))

    assert "classified" not in " ".join(worker.environ().values())


async def test_a_long_home_path_still_works(tmp_path: Path, home: Path, start_kernel: StartKernel) -> None:
    long = tmp_path / ("x" * 100) / "home"
    long.parent.mkdir()
    home.rename(long)

    kernel = await start_kernel(at=long)

    assert await _text(kernel, "hello") == "hello"


async def test_an_overlong_model_name_is_refused_without_troubling_the_kernel(kernel: RunningKernel) -> None:
    with pytest.raises(MlxdError, match="at most 256 characters"):
        await _text(kernel, "hello", model="x" * 300)


async def test_a_model_that_changes_on_disk_serves_on_until_its_next_load(kernel: RunningKernel) -> None:
    async def is_changed() -> bool:
        return next(m.is_changed for m in await kernel.client.models() if m.name == "echo/plain")

    pid = await kernel.load("echo/plain")
    (kernel.home / "models/echo/plain/new.json").write_text("{}")

    assert await is_changed()
    assert await _text(kernel, "hello") == "hello"
    assert await kernel.worker_pid("echo/plain") == pid

    await kernel.client.admin("unload", Admin(model="echo/plain"), DoneReply)
    await kernel.load("echo/plain")
    assert not await is_changed()
