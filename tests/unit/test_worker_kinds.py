"""Strangers' worker kinds, installed in a folder: taken when they are right, told when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_packages import DECLARATION, install, install_worker

from kernel.worker_kinds import WorkerKinds
from transports.errors import NotFound


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def broken() -> dict[str, str]:
    return {one.name: one.error for one in WorkerKinds.installed().broken}


def test_a_strangers_kind_is_known_without_importing_it(site: Path) -> None:
    install_worker(site, "parrot", engine="raise SystemExit")

    kind = WorkerKinds.installed()["parrot"]
    assert (kind.loader, kind.lock, kind.declared.weights) == ("mlxd_parrot.engine:load", None, False)
    assert kind.packages == {
        "mlxd_parrot": site / "mlxd_parrot",
        "mlxd_parrot-1.0.dist-info": site / "mlxd_parrot-1.0.dist-info",
    }


def test_a_lock_beside_the_declaration_is_its_environment(site: Path) -> None:
    install_worker(site, "parrot", declaration=f'requirements = "r.lock"\n{DECLARATION}')
    (site / "mlxd_parrot/r.lock").write_text("")

    assert WorkerKinds.installed()["parrot"].lock == site / "mlxd_parrot/r.lock"


def test_ours_bring_no_packages_of_their_own() -> None:
    assert [dict(kind.packages) for kind in WorkerKinds.installed() if kind.name == "text"] == [{}]


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        ("tasks = [", "parrot.toml: "),
        ("\0", "parrot.toml: "),
        ("a" * 300_000, "parrot.toml: expected at most 262144 bytes"),
        ("tasks = 1", "parrot.toml: Expected `array`, got `int` - at `$.tasks`"),
        (f'requirements = "r.lock"\n{DECLARATION}', "parrot.toml: requirements: no file 'r.lock' beside it"),
        (f'requirements = "../r.lock"\n{DECLARATION}', "requirements: no file '../r.lock' beside it"),
        (f'requirements = "/etc/passwd"\n{DECLARATION}', "requirements: no file '/etc/passwd' beside it"),
    ],
)
def test_a_wrong_declaration_harms_no_other_and_is_told(site: Path, declaration: str, said: str) -> None:
    (site / "r.lock").write_text("")
    install_worker(site, "parrot", declaration=declaration)

    assert said in broken()["parrot"]
    assert {kind.name for kind in WorkerKinds.installed()} >= {"echo", "text", "vision"}


def test_a_kind_without_a_declaration_is_told(site: Path) -> None:
    install(
        site, "their-kind", {"theirs/__init__.py": ""}, {"mlxd.workers": {"parrot": "theirs.engine:load"}}
    )

    assert "theirs/parrot.toml: No such file" in broken()["parrot"]


@pytest.mark.parametrize("files", [{}, {"theirs.py": ""}, {"theirs/engine.py": ""}])
def test_a_kind_whose_package_is_none_is_told(site: Path, files: dict[str, str]) -> None:
    install(site, "their-kind", files, {"mlxd.workers": {"parrot": "theirs:load"}})

    assert "package theirs: not found" in broken()["parrot"]


def test_a_kind_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(NotFound, match=r"worker kind 'sound': not known; there are: echo, .*text"):
        WorkerKinds.installed()["sound"]


def test_what_no_environment_has_is_told() -> None:
    with pytest.raises(NotFound, match="frobnicate: no worker kind has it"):
        WorkerKinds.installed().with_tool("frobnicate")
