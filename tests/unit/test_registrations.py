"""Which entry points are taken, and what of the others is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_packages import install

from transports.registrations import FRONTENDS, OURS, WORKERS, Registration, registrations


def of(group: str, distribution: str) -> list[Registration]:
    return [one for one in registrations(group) if one.distribution == distribution]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_built_in_ones_come_through_the_same_door() -> None:
    assert {one.name for one in of(FRONTENDS, OURS)} >= {"http"}
    assert {one.name for one in of(WORKERS, OURS)} >= {"echo", "text", "vision"}
    assert [one.error for one in (*of(FRONTENDS, OURS), *of(WORKERS, OURS)) if one.error] == []


def test_a_strangers_one_is_told_with_its_distribution_and_nothing_of_it_is_imported(site: Path) -> None:
    install(site, "their-door", {"door.py": "raise SystemExit"}, {FRONTENDS: {"door": "door:Door"}}, "2.5")

    assert of(FRONTENDS, "their-door") == [
        Registration(
            group=FRONTENDS, name="door", value="door:Door", distribution="their-door", version="2.5"
        )
    ]
    assert of(WORKERS, "their-door") == []


def test_nobody_takes_the_place_of_ours(site: Path) -> None:
    install(site, "a-thief", {}, {WORKERS: {"text": "thief:load"}})

    [one] = of(WORKERS, "a-thief")
    assert one.error == "mlxd registers text too, and is taken"
    assert [one.error for one in of(WORKERS, OURS) if one.name == "text"] == [""]


def test_of_two_strangers_the_first_by_distribution_is_taken(site: Path) -> None:
    install(site, "b-late", {}, {WORKERS: {"sound": "late:load"}})
    install(site, "a-first", {}, {WORKERS: {"sound": "first:load"}})

    assert of(WORKERS, "a-first")[0].error == ""
    assert of(WORKERS, "b-late")[0].error == "a-first registers sound too, and is taken"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("../text", "a:b", "name: expected"),
        ("Text", "a:b", "name: expected"),
        ("a" * 33, "a:b", "name: expected"),
        ("sound", "sound", "expected module:attribute"),
        ("sound", "sound:load [extra]", "expected module:attribute"),
        ("sound", "os:system('x')", "expected module:attribute"),
    ],
)
def test_names_and_references_are_checked(site: Path, name: str, value: str, said: str) -> None:
    install(site, "their-kind", {}, {WORKERS: {name: value}})

    assert said in of(WORKERS, "their-kind")[0].error


@pytest.mark.parametrize(
    "text", ["[mlxd.workers]\nno value\n", "[mlxd.workers\n", "\0mlxd.workers", "[mlxd.workers]\n=\n"]
)
def test_broken_metadata_of_one_hides_no_other(site: Path, text: str) -> None:
    install(site, "a-broken", {}, {})
    (site / "a_broken-1.0.dist-info/entry_points.txt").write_text(text)
    install(site, "b-whole", {}, {WORKERS: {"sound": "whole:load"}})

    assert of(WORKERS, "b-whole")[0].error == ""
    assert of(WORKERS, OURS)


def test_metadata_that_is_no_text_hides_no_other(site: Path) -> None:
    install(site, "a-broken", {}, {})
    (site / "a_broken-1.0.dist-info/entry_points.txt").write_bytes(b"[mlxd.workers]\n\xff = a:b\n")

    assert of(WORKERS, OURS)


def test_the_first_of_a_distribution_on_the_path_hides_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("old", "1.0"), ("new", "2.0")):
        monkeypatch.syspath_prepend(tmp_path / folder)
        install(tmp_path / folder, "their-kind", {}, {WORKERS: {"sound": "sound:load"}}, version)

    assert [one.version for one in of(WORKERS, "their-kind")] == ["2.0"]
