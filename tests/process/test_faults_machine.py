"""A machine that refuses: no descriptors, no disk, no memory for pixels, no clock to trust. Rows 32 to 43."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from cli_harness import MLXD, mlxd
from control_groups import control_group
from pictures import data_url, plain, png
from running import RunningKernel, StartKernel, add_echo_models

from transports.errors import MlxdError
from transports.reports import Admin, DoneReply

linux = pytest.mark.skipif(sys.platform != "linux", reason="no limits for another process")
LONG = " ".join(f"word{i}" for i in range(200))


async def frontend_of(kernel: RunningKernel) -> psutil.Process:
    return psutil.Process(next(f.pid for f in (await kernel.client.status()).frontends if f.supervised))


@contextlib.contextmanager
def limited(process: psutil.Process, kind: int, most: int):
    """The process may have no more than *most* of something while the block lasts."""
    before = process.rlimit(kind)
    process.rlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        process.rlimit(kind, before)


def chat(text: str, model: str, **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


@linux
async def test_without_descriptors_new_connections_wait_and_old_ones_go_on(
    http_kernel: RunningKernel,
) -> None:
    """Row 40."""
    await http_kernel.load("echo/slow")
    frontend = await frontend_of(http_kernel)
    async with ClientSession(http_kernel.url) as session:
        reply = await session.post("/v1/chat/completions", json=chat(LONG, "echo/slow", stream=True))
        await reply.content.readuntil(b"word1")
        with limited(frontend, resource.RLIMIT_NOFILE, frontend.num_fds()):
            others = [socket.create_connection(("127.0.0.1", int(http_kernel.url[-5:]))) for _ in range(5)]
            rest = await reply.content.read()
        for other in others:
            other.close()
        async with asyncio.timeout(5), session.get("/health") as health:
            assert health.status == 200

    assert rest.endswith(b"data: [DONE]\n\n")
    assert (await frontend_of(http_kernel)).pid == frontend.pid


@linux
async def test_a_kernel_that_can_start_nothing_says_so_and_waits(start_kernel: StartKernel) -> None:
    """Row 41, for want of descriptors. It starts the model once it can."""
    kernel = await start_kernel(restart_first_delay_s=0.1, crash_loop_retry_s=1.0)
    process = psutil.Process(kernel.pid)
    # Enough to look at folders, too few for the pipes of a process.
    with limited(process, resource.RLIMIT_NOFILE, process.num_fds() + 2):
        await says_so_and_waits(kernel, "Too many open files")

    await works_again(kernel)


@linux
async def test_a_kernel_that_may_not_fork_says_so_and_waits(start_kernel: StartKernel) -> None:
    """Row 41, for want of processes and threads."""
    kernel = await start_kernel(restart_first_delay_s=0.1, crash_loop_retry_s=1.0)
    with control_group("pids", {"pids.max": 1}) as members:
        members.write_text(str(kernel.pid))
        await says_so_and_waits(kernel, "Resource temporarily unavailable")

    await works_again(kernel)


async def says_so_and_waits(kernel: RunningKernel, words: str) -> None:
    """A request is told why its model cannot be started, and trying again costs nothing worth naming."""
    process = psutil.Process(kernel.pid)
    with pytest.raises(MlxdError, match=words):
        await kernel.say("x")
    before_s = sum(process.cpu_times()[:2])
    await asyncio.sleep(2)
    assert (sum(process.cpu_times()[:2]) - before_s) / 2 < 0.05


async def works_again(kernel: RunningKernel) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(MlxdError):
                assert await kernel.say("better") == "better"
                return
            await asyncio.sleep(0.1)


@linux
async def test_a_full_disk_keeps_nobody_from_being_served(http_kernel: RunningKernel) -> None:
    """Row 35, for logs: every write to a file fails. Downloads and environments have their own tests."""
    kernel = psutil.Process(http_kernel.pid)
    with limited(kernel, resource.RLIMIT_FSIZE, 0):
        async with ClientSession(http_kernel.url) as session:
            for turn in range(20):
                body = chat(f"turn {turn}", "echo/plain")
                async with session.post("/v1/chat/completions", json=body) as reply:
                    answer = await reply.json()
                    assert answer["choices"][0]["message"]["content"] == f"turn {turn}"

    assert await http_kernel.say("still here") == "still here"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


@linux
async def test_a_disk_that_fills_up_keeps_nobody_from_being_served(
    small_disk: Path, start_kernel: StartKernel
) -> None:
    """Row 35, where home and logs are; the log goes on once there is room."""
    add_echo_models(small_disk)
    kernel = await start_kernel(at=small_disk)
    assert await kernel.say("before") == "before"
    filler = fill(small_disk)

    for turn in range(20):
        assert await kernel.say(f"turn {turn}", model=f"echo/{('plain', 'eyes')[turn % 2]}") == f"turn {turn}"
    filler.unlink()
    await kernel.client.admin("unload", Admin(model="echo/eyes"), DoneReply)

    log = (small_disk / "logs" / "kernel.log").read_text()
    assert "name=echo:echo/eyes state=stopp" in log


@linux
def test_a_kernel_on_a_full_disk_is_one_line(small_disk: Path) -> None:
    """Row 35: it cannot write where it is to be found."""
    add_echo_models(small_disk)
    fill(small_disk)

    done = mlxd(small_disk, "run", "echo/plain", "hello")

    assert (done.returncode == 0, done.stdout, done.stderr.count("\n")) == (False, "", 1), done.stderr
    assert "No space left on device" in done.stderr


@linux
async def test_without_shared_memory_pixels_go_in_messages(http_kernel: RunningKernel) -> None:
    """Row 32: a decode process may write no file, and nobody ends by SIGBUS."""
    assert await show(http_kernel, 10) == (200, "10x10:dc143c-dc143c")
    (decoder,) = (await frontend_of(http_kernel)).children()

    with limited(decoder, resource.RLIMIT_FSIZE, 0):
        assert await show(http_kernel, 500) == (200, "500x500:dc143c-dc143c")


@linux
async def test_without_room_for_a_file_a_picture_is_refused(
    http_kernel: RunningKernel,
) -> None:
    """Row 32: what is sent has no place on its way to be decoded."""
    with limited(await frontend_of(http_kernel), resource.RLIMIT_FSIZE, 0):
        assert await show(http_kernel, 500) == (503, "insufficient_storage")

    assert await show(http_kernel, 500) == (200, "500x500:dc143c-dc143c")


async def show(kernel: RunningKernel, side: int) -> tuple[int, str]:
    """Show a red picture: the status, and what the model says or the error's code."""
    picture = {"type": "image_url", "image_url": {"url": data_url(png(plain("red", (side, side))))}}
    body = {"model": "echo/eyes", "messages": [{"role": "user", "content": [picture]}]}
    async with (
        ClientSession(kernel.url) as session,
        session.post("/v1/chat/completions", json=body) as reply,
    ):
        answer = await reply.json()
    if reply.status != 200:
        return reply.status, answer["error"]["code"]
    return reply.status, answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", ["with space", "größe", "a'quote"])
def test_any_path_is_a_home(tmp_path: Path, name: str) -> None:
    """Row 36."""
    home = tmp_path / name
    (home / "models" / "echo" / "plain").mkdir(parents=True)
    (home / "models" / "echo" / "plain" / "config.json").write_text('{"model_type": "echo"}')

    done = mlxd(home, "run", "echo/plain", "hello")

    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_a_path_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    """Row 36: it could not be said to a kernel."""
    done = mlxd(tmp_path / os.fsdecode(b"not \xff utf-8"), "run", "echo/plain", "hello")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: MLXD_HOME: expected a path in UTF-8")


def test_it_works_without_a_home_in_the_environment(home: Path) -> None:
    """Row 36: as under cron or systemd, and with a TMPDIR that no socket's path has room for."""
    long = f"/tmp/{'x' * 200}"
    lean = {"MLXD_HOME": str(home), "MLXD_KERNEL_FRONTENDS": "", "PATH": os.defpath, "TMPDIR": long}
    command = [MLXD, "run", "echo/plain", "hello"]

    done = subprocess.run(command, env=lean, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_a_home_that_cannot_be_written_is_one_line(home: Path) -> None:
    """Row 36: /proc is read-only for root too."""
    done = mlxd(Path("/proc/mlxd"), "run", "echo/plain", "hello")

    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "MLXD_HOME" in done.stderr
    assert "Traceback" not in done.stderr
