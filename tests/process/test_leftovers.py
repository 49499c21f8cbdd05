"""What a killed kernel left is ended and removed by the next one; what only looks like it is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from running import StartKernel

from kernel.leftovers import Children, sweep_folders
from transports import rundir
from transports.filelock import locked
from transports.settings import HttpSettings


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def child(run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process as a kernel starts them, noted by it; it does nothing."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], cwd=run_dir, start_new_session=True
    )
    Children(run_dir).add(process.pid)
    yield process
    process.kill()
    process.wait()


def noted(run_dir: Path, pid: int) -> Path:
    return run_dir / "children" / str(pid)


def test_a_child_that_is_left_is_ended(run_dir: Path, child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGSTOP)

    Children(run_dir).sweep()

    assert not psutil.pid_exists(child.pid)
    assert not (run_dir / "children").exists()


def test_another_process_of_that_number_is_left_alone(run_dir: Path, child: subprocess.Popen[bytes]) -> None:
    file = noted(run_dir, child.pid)
    file.write_text(repr(float(file.read_text()) - 5))

    Children(run_dir).sweep()

    assert child.poll() is None
    assert not (run_dir / "children").exists()


def test_a_process_of_another_folder_is_left_alone(
    run_dir: Path, child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (run_dir / "children").rename(tmp_path / "moved")
    other.mkdir()
    (tmp_path / "moved").rename(other / "children")

    Children(other).sweep()

    assert child.poll() is None


@pytest.mark.parametrize(
    ("name", "content"), [("x", "1.0"), ("-1", "1.0"), ("1", "nan"), ("0", ""), ("99999999", "1")]
)
def test_a_note_that_makes_no_sense_harms_nobody(run_dir: Path, name: str, content: str) -> None:
    (run_dir / "children").mkdir()
    (run_dir / "children" / name).write_text(content)

    Children(run_dir).sweep()

    assert not (run_dir / "children").exists()


async def test_folders_that_were_being_filled_are_removed(tmp_path: Path) -> None:
    left = [
        tmp_path / "home/models/.incoming-1",
        tmp_path / "home/models/.removed-1",
        tmp_path / "home/envs/.building-text-1",
        tmp_path / "home/envs/.removed-text-1",
        tmp_path / "hub/.removed-1",
    ]
    kept = [tmp_path / "home/models/mine", tmp_path / "home/envs/text-1", tmp_path / "hub/models--a--b"]
    for folder in (*left, *kept):
        (folder / "deep").mkdir(parents=True)

    await sweep_folders(tmp_path / "home", tmp_path / "hub")

    assert [path for path in left if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


async def test_a_folder_that_somebody_fills_now_stays(tmp_path: Path) -> None:
    incoming = tmp_path / "models/.incoming-1"
    incoming.mkdir(parents=True)

    async with locked(tmp_path / "models/.lock", timeout_s=1):
        await sweep_folders(tmp_path, tmp_path / "hub")

    assert incoming.exists()


async def test_a_frontend_that_was_stopped_does_not_outlive_two_kernels(
    home: Path, start_kernel: StartKernel
) -> None:
    first = await start_kernel(http=HttpSettings(port=0))
    (frontend,) = [f.pid for f in (await first.client.status()).frontends if f.kind == "http"]
    os.kill(frontend, signal.SIGSTOP)
    os.kill(first.pid, signal.SIGKILL)
    await first.process.wait()
    assert psutil.pid_exists(frontend)

    second = await start_kernel()

    async with asyncio.timeout(5):
        while psutil.pid_exists(frontend) and psutil.Process(frontend).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)
    assert await second.load("echo/plain")
    assert len(list((rundir.locate(home) / "children").iterdir())) == 1
    await second.end()


async def test_the_third_signal_waits_for_nobody(home: Path, start_kernel: StartKernel) -> None:
    kernel = await start_kernel(http=HttpSettings(port=0))
    (frontend,) = [f.pid for f in (await kernel.client.status()).frontends if f.kind == "http"]
    stream = kernel.ask("ENDLESS", model="echo/faulty")
    await anext(stream)
    # It cannot end before it is killed, half a second after the second signal.
    os.kill(frontend, signal.SIGSTOP)

    os.kill(kernel.pid, signal.SIGTERM)
    await asyncio.wait_for(kernel.client.stopping.wait(), 5)
    os.kill(kernel.pid, signal.SIGINT)
    os.kill(kernel.pid, signal.SIGTERM)

    assert await asyncio.wait_for(kernel.process.wait(), 0.4) == 1
    again = await start_kernel()
    assert not psutil.pid_exists(frontend)
    await again.end()
