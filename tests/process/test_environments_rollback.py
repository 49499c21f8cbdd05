"""Several environments of one kind: after an upgrade, gone back from it, and for one model alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from small_wheels import make_wheel, make_workers

from kernel.declaration import Declaration, Rule
from kernel.environments import NO_LOCKS, Environments
from kernel.isolation import LinkDirs
from kernel.worker_kinds import WorkerKind, WorkerKinds
from transports.errors import EnvironmentFailed, NotFound
from transports.messages import Progress
from transports.registrations import WORKERS, Registration

FRUIT = Registration(group=WORKERS, name="fruit", value="fruit:load", distribution="fruit", version="1.0")
# The test of a stand-in for `workers`: a release that is in the file beside it is refused.
SMOKE = """
import pathlib, fruit
refused = pathlib.Path(__file__).with_name("refused").read_text()
assert fruit.RELEASE != refused, f"no {refused} here"
"""

Make = Callable[..., Environments]


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """The file with the release that fails its test."""
    make_workers(tmp_path / "workers", SMOKE)
    path = tmp_path / "workers/refused"
    path.write_text("")
    return path


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Path) -> Make:
    """Environments of a mlxd whose kind "fruit" comes with the release that is asked for."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    for release in ("1.0", "2.0", "3.0"):
        code = f"RELEASE = {release!r}\n".encode()
        digest = make_wheel(tmp_path / "wheels", "fruit", release, {"fruit.py": code})
        (tmp_path / f"{release}.lock").write_text(f"fruit=={release} --hash=sha256:{digest}\n")
    links = LinkDirs(tmp_path / "run", {"workers": tmp_path / "workers"})

    def make(release: str, locks: Mapping[str, Path] = NO_LOCKS) -> Environments:
        declared = Declaration(tasks=("eat",), serves=(Rule(model_types=("fruit",)),))
        kind = WorkerKind(FRUIT, declared, tmp_path / f"{release}.lock", {})
        return Environments(tmp_path / "home", WorkerKinds({"fruit": kind}), links, locks=locks)

    return make


def ignore(_progress: Progress) -> None:
    pass


def release_of(python: Path | None) -> str:
    assert python is not None
    code = "import fruit; print(fruit.RELEASE)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def states(environments: Environments) -> list[str]:
    return [one.state for one in environments.list()]


async def test_an_upgrade_is_gone_back_from_and_forward_to_again(make: Make) -> None:
    await make("1.0").ensure("fruit", ignore)
    upgraded = make("2.0")
    await upgraded.sync("fruit", ignore)
    assert (release_of(upgraded.python("fruit")), states(upgraded)) == ("2.0", ["ready", "previous"])

    await upgraded.roll_back("fruit", ignore)
    # And whoever starts later keeps to it.
    assert (release_of(make("2.0").python("fruit")), states(upgraded)) == ("1.0", ["ready", "rolled-back"])
    await upgraded.sync(None, ignore)
    assert release_of(upgraded.python("fruit")) == "1.0"

    await upgraded.sync("fruit", ignore)
    assert (release_of(upgraded.python("fruit")), states(upgraded)) == ("2.0", ["ready", "previous"])


async def test_the_next_upgrade_is_tried_whatever_was_rolled_back(make: Make) -> None:
    await make("1.0").ensure("fruit", ignore)
    await make("2.0").ensure("fruit", ignore)
    await make("2.0").roll_back("fruit", ignore)

    assert release_of(await make("3.0").ensure("fruit", ignore)) == "3.0"


async def test_an_upgrade_that_fails_its_test_is_not_used_and_can_be_gone_back_from(
    make: Make, refused: Path
) -> None:
    await make("1.0").ensure("fruit", ignore)
    refused.write_text("2.0")
    upgraded = make("2.0")

    with pytest.raises(EnvironmentFailed, match=r"fails its test: AssertionError: no 2\.0 here"):
        await upgraded.sync("fruit", ignore)
    assert upgraded.python("fruit") is None
    await upgraded.roll_back("fruit", ignore)
    assert release_of(upgraded.python("fruit")) == "1.0"


async def test_nothing_is_gone_back_to_that_fails_its_test(make: Make, refused: Path) -> None:
    await make("1.0").ensure("fruit", ignore)
    upgraded = make("2.0")
    await upgraded.ensure("fruit", ignore)
    refused.write_text("1.0")

    with pytest.raises(EnvironmentFailed, match=r"nothing was changed: AssertionError: no 1\.0 here"):
        await upgraded.roll_back("fruit", ignore)
    assert release_of(upgraded.python("fruit")) == "2.0"


async def test_without_an_earlier_one_there_is_nothing_to_go_back_to(make: Make) -> None:
    environments = make("1.0")
    await environments.ensure("fruit", ignore)

    with pytest.raises(NotFound, match="there is no earlier environment than fruit-"):
        await environments.roll_back("fruit", ignore)


async def test_what_was_gone_back_to_can_be_removed(make: Make) -> None:
    await make("1.0").ensure("fruit", ignore)
    upgraded = make("2.0")
    await upgraded.ensure("fruit", ignore)
    await upgraded.roll_back("fruit", ignore)

    await upgraded.remove("fruit")
    assert (release_of(upgraded.python("fruit")), states(upgraded)) == ("2.0", ["ready"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fruit": {"use": "../../x", "instead_of": "y"}}'])
async def test_a_broken_note_of_what_was_rolled_back_is_none(make: Make, tmp_path: Path, text: str) -> None:
    (tmp_path / "home/envs").mkdir(parents=True)
    (tmp_path / "home/envs/rolled-back.json").write_text(text)

    assert states(make("1.0")) == ["missing"]


async def test_a_model_may_have_another_release_than_its_kind(make: Make, tmp_path: Path) -> None:
    environments = make("2.0", {"old/model": tmp_path / "1.0.lock", "other": tmp_path / "1.0.lock"})
    await environments.ensure("fruit", ignore)

    assert release_of(await environments.ensure("fruit", ignore, "old/model")) == "1.0"
    assert release_of(environments.python("fruit", "any/model")) == "2.0"
    assert release_of(environments.python("fruit", "other")) == "1.0"
    assert states(environments) == ["ready", "ready"]


async def test_a_lock_that_is_not_there_fails_its_model_alone(make: Make, tmp_path: Path) -> None:
    environments = make("2.0", {"old/model": tmp_path / "gone.lock"})
    await environments.ensure("fruit", ignore)

    with pytest.raises(EnvironmentFailed, match=r"old/model: its lock file gone\.lock: No such file"):
        await environments.ensure("fruit", ignore, "old/model")
    assert states(environments) == ["ready"]
