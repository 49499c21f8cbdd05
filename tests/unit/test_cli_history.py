"""The history of `mlxd chat` is private and bounded."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from plugins.cli.history import MAX_BYTES, history_file

ENTRY = b"\n# 2026-11-23 12:00:00.000000\n+typed\n"


def test_it_is_made_for_this_user_alone(tmp_path: Path) -> None:
    path = history_file(tmp_path / "new")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_open_one_is_closed_to_others_and_kept(tmp_path: Path) -> None:
    (tmp_path / "chat_history").write_bytes(ENTRY)
    (tmp_path / "chat_history").chmod(0o644)

    path = history_file(tmp_path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == ENTRY


def test_a_long_one_loses_its_oldest_entries(tmp_path: Path) -> None:
    (tmp_path / "chat_history").write_bytes(ENTRY * (MAX_BYTES // len(ENTRY) + 1))

    content = history_file(tmp_path).read_bytes()

    assert content == ENTRY * (MAX_BYTES // 2 // len(ENTRY))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "chat_history").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        history_file(tmp_path)
