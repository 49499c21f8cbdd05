"""Whose end is told as a want of memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel import oom
from kernel.oom import OomKills

SetKills = Callable[[int], object]


@pytest.fixture
def set_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetKills:
    """How often the system has killed; three times at first."""
    file = tmp_path / "vmstat"
    monkeypatch.setattr(oom, "VMSTAT", file)

    def set_to(num: int) -> object:
        return file.write_text(f"nr_free_pages 5\noom_kill {num}\npgfault 7\n")

    set_to(3)
    return set_to


def test_a_process_that_starts_takes_no_kill_from_another(set_kills: SetKills) -> None:
    kills = OomKills()
    since = kills.num()
    set_kills(4)
    later = kills.num()

    assert kills.claim(since)
    assert not kills.claim(later)


def test_a_kill_is_one_process_end(set_kills: SetKills) -> None:
    kills = OomKills()
    since = kills.num()
    assert not kills.claim(since)

    set_kills(4)

    assert [kills.claim(since), kills.claim(since)] == [True, False]


def test_a_system_that_does_not_tell_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oom, "VMSTAT", tmp_path / "absent")

    assert not OomKills().claim(0)
