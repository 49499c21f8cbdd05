"""Environments built for real: by uv, from wheels of our own, without a registry."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from small_wheels import make_wheel, make_workers

from kernel.declaration import Declaration, Rule
from kernel.environment_build import BUILDING
from kernel.environments import Environments
from kernel.isolation import LinkDirs
from kernel.tools import run_tool
from kernel.worker_kinds import WorkerKind, WorkerKinds
from transports.errors import EnvironmentFailed, NotFound
from transports.filelock import locked
from transports.messages import Progress
from transports.registrations import WORKERS, Registration

# The smoke test of the stand-in for `workers`: it passes if the wheel can be imported.
SMOKE = """
import sys
assert sys.argv[1] == "smoke" and sys.argv[3:] == ["fruit.engine:load", "fruit"], sys.argv
import fruit
"""

Make = Callable[..., Environments]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Environments with one kind, "fruit", whose lock pins one wheel."""
    digest = make_wheel(tmp_path / "wheels", "fruit", "1.0", {"fruit.py": b"SWEET = True\n"})
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"fruit==1.0 --hash=sha256:{digest}\n")
    declared = Declaration(tasks=("eat",), serves=(Rule(model_types=("fruit",)),), modules=("fruit",))
    registration = Registration(
        group=WORKERS, name="fruit", value="fruit.engine:load", distribution="fruit", version="1.0"
    )
    kind = WorkerKind(registration, declared, lock, {})
    made = 0

    def make(*, smoke: str = SMOKE, timeout_s: float = 60.0) -> Environments:
        nonlocal made
        made += 1
        workers = make_workers(tmp_path / f"workers{made}", smoke)
        links = LinkDirs(tmp_path / f"run{made}", {"workers": workers})
        kinds = WorkerKinds({"fruit": kind})
        return Environments(tmp_path / "home", kinds, links, timeout_s=timeout_s)

    return make


def ignore(_progress: Progress) -> None:
    pass


def state(environments: Environments) -> tuple[str, ...]:
    return tuple(one.state for one in environments.list())


def leftovers(home: Path) -> list[str]:
    return [path.name for path in (home / "envs").iterdir() if path.name.startswith((".b", ".r"))]


async def test_an_environment_is_built_and_found_again(make: Make, tmp_path: Path) -> None:
    environments = make()
    assert (state(environments), environments.python("fruit")) == (("missing",), None)

    told: list[Progress] = []
    python = await environments.ensure("fruit", told.append)
    assert (state(environments), environments.python("fruit")) == (("ready",), python)
    assert make().python("fruit") == python
    assert subprocess.run([python, "-c", "import fruit"], check=False).returncode == 0
    assert leftovers(tmp_path / "home") == []
    fractions = [one.fraction for one in told if one.fraction is not None]
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert fractions == sorted(fractions)


async def test_a_worker_environment_holds_the_locks_packages_alone(make: Make) -> None:
    python = await make().ensure("fruit", ignore)

    code = "import importlib.util as u; print(*(u.find_spec(n) is None for n in ('zmq', 'kernel', 'pip')))"
    found = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True"] * 3


async def test_a_ready_environment_is_not_built_again(make: Make) -> None:
    await make().ensure("fruit", ignore)

    # It would fail: nothing can be installed any more.
    os.environ["UV_FIND_LINKS"] = "/nowhere"
    told: list[Progress] = []
    await make(smoke="raise SystemExit(1)").ensure("fruit", told.append)
    assert told == []


async def test_a_wrong_hash_is_refused(make: Make, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"fruit==1.0 --hash=sha256:{'0' * 64}\n")
    environments = make()

    with pytest.raises(EnvironmentFailed, match=r"(?i)hash.*mlxd envs sync fruit"):
        await environments.ensure("fruit", ignore)
    assert state(environments) == ("missing",)
    assert "ash" in environments.list()[0].error
    assert leftovers(tmp_path / "home") == []


async def test_a_package_that_is_not_to_be_had_is_named_in_one_line(make: Make, tmp_path: Path) -> None:
    (tmp_path / "wheels/fruit-1.0-py3-none-any.whl").unlink()

    with pytest.raises(EnvironmentFailed, match="no version of fruit") as caught:
        await make().ensure("fruit", ignore)
    assert "\n" not in caught.value.message


async def test_an_environment_that_fails_its_test_is_not_swapped_in(make: Make, tmp_path: Path) -> None:
    environments = make(smoke="import vegetables")

    with pytest.raises(EnvironmentFailed, match="No module named 'vegetables'"):
        await environments.ensure("fruit", ignore)
    assert environments.python("fruit") is None
    assert leftovers(tmp_path / "home") == []


async def test_two_builds_at_once_are_one(make: Make, tmp_path: Path) -> None:
    """The smoke test notes each build: only one happens, and both callers get it."""
    smoke = f"open({str(tmp_path / 'built')!r}, 'a').write('x')"
    first, second = make(smoke=smoke), make(smoke=smoke)

    told: list[Progress] = []
    pythons = await asyncio.gather(first.ensure("fruit", ignore), second.ensure("fruit", told.append))
    assert pythons[0] == pythons[1]
    assert (tmp_path / "built").read_text() == "x"
    assert "waiting for another build" in told[0].detail


async def test_sync_rebuilds_what_is_broken(make: Make) -> None:
    environments = make()
    python = await environments.ensure("fruit", ignore)
    [module] = python.parents[1].glob("lib/python*/site-packages/fruit.py")
    module.unlink()

    assert [one.state for one in await environments.sync(None, ignore)] == ["ready"]
    assert module.exists()


async def test_sync_leaves_alone_what_works(make: Make) -> None:
    environments = make()
    python = await environments.ensure("fruit", ignore)
    before = python.parents[1].stat().st_ino

    await environments.sync("fruit", ignore)
    assert python.parents[1].stat().st_ino == before


async def test_an_interpreter_that_is_gone_makes_it_broken(make: Make) -> None:
    environments = make()
    python = await environments.ensure("fruit", ignore)
    python.unlink()
    python.symlink_to("/nowhere/python")

    assert (state(environments), environments.python("fruit")) == (("broken",), None)
    assert await environments.ensure("fruit", ignore) == python
    assert state(environments) == ("ready",)


async def test_what_a_crash_left_is_swept_by_the_next_build(make: Make, tmp_path: Path) -> None:
    (tmp_path / f"home/envs/{BUILDING}fruit-1234/lib").mkdir(parents=True)

    await make().ensure("fruit", ignore)
    assert leftovers(tmp_path / "home") == []


async def test_a_new_lock_makes_a_new_environment_and_keeps_the_old_one(make: Make, tmp_path: Path) -> None:
    old = make()
    await old.ensure("fruit", ignore)
    lock = tmp_path / "requirements.lock"
    lock.write_text(lock.read_text() + "# changed\n")
    new = make()

    assert state(new) == ("missing", "previous")
    previous = new.list()[1]
    assert (previous.kind, previous.name) == ("fruit", old.list()[0].name)
    await new.remove(previous.name)
    assert state(new) == ("missing",)


@pytest.mark.parametrize("name", ["../wheels", "nothing", "", ".lock", "/tmp"])
async def test_only_environments_can_be_removed(make: Make, tmp_path: Path, name: str) -> None:
    environments = make()
    await environments.ensure("fruit", ignore)

    with pytest.raises(NotFound, match="not there; there are: fruit-"):
        await environments.remove(name)
    assert (tmp_path / "wheels").exists()
    assert state(environments) == ("ready",)


async def test_removing_a_kind_removes_its_environment(make: Make) -> None:
    environments = make()
    await environments.ensure("fruit", ignore)

    await environments.remove("fruit")
    assert state(environments) == ("missing",)


def children() -> set[psutil.Process]:
    """Our descendants; other tests' fixtures may have some."""
    return set(psutil.Process().children(recursive=True))


async def test_a_cancelled_build_leaves_neither_process_nor_folder(make: Make, tmp_path: Path) -> None:
    """Cancelled in the middle of the smoke test, which would never end."""
    before = children()
    started = tmp_path / "started"
    smoke = f"import time; open({str(started)!r}, 'w').write('x'); time.sleep(600)"
    build = asyncio.create_task(make(smoke=smoke).ensure("fruit", ignore))
    while not started.exists():
        await asyncio.sleep(0.02)

    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert leftovers(tmp_path / "home") == []
    assert children() <= before


async def test_a_build_that_takes_too_long_is_ended(make: Make, tmp_path: Path) -> None:
    before = children()
    environments = make(smoke="import time; time.sleep(600)", timeout_s=2.0)

    with pytest.raises(EnvironmentFailed, match="not finished after 2 s"):
        await environments.ensure("fruit", ignore)
    assert leftovers(tmp_path / "home") == []
    assert children() <= before


async def test_a_folder_that_cannot_be_written_is_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")

    with pytest.raises(EnvironmentFailed, match="set MLXD_HOME"):
        await make().ensure("fruit", ignore)


async def test_the_lock_is_free_when_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    code = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(TimeoutError):
        async with locked(path, timeout_s=0.0):
            pass
    holder.kill()
    holder.wait()
    holder.stdout.close()

    async with locked(path, timeout_s=5.0):
        pass


async def test_a_tool_dies_with_the_process_that_runs_it(tmp_path: Path) -> None:
    """kill -9 of the parent: the tool and what it started are gone as well."""
    sleeper = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    )
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from kernel.tools import run_tool\n"
        "tool = run_tool([sys.executable, '-c', sys.argv[1]], env=os.environ, cwd=Path('/'), timeout_s=60,\n"
        "                on_line=lambda line: print(line, flush=True))\n"
        "asyncio.run(tool)\n"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", code, sleeper], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    grandchild = psutil.Process(int(parent.stdout.readline()))

    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert psutil.wait_procs([grandchild], timeout=2.0)[1] == []


async def test_a_tool_that_cannot_be_started_is_an_exit_status(tmp_path: Path) -> None:
    result = await run_tool(["/nowhere/tool"], env={}, cwd=tmp_path, timeout_s=10.0)

    assert result.returncode == 127
    assert "No such file" in result.lines[0]


async def test_a_tools_endless_line_does_not_fill_memory(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.write('x' * 50_000_000 + '\\nend\\n')"
    result = await run_tool([sys.executable, "-c", code], env={}, cwd=tmp_path, timeout_s=60.0)

    assert result.lines[-1] == "end"
    assert len(result.lines[0]) < 200_000


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
async def test_a_tool_killed_by_a_signal_has_its_number(tmp_path: Path) -> None:
    result = await run_tool(["/bin/sh", "-c", "kill -9 $$"], env={}, cwd=tmp_path, timeout_s=10.0)

    assert result.returncode == 128 + signal.SIGKILL
