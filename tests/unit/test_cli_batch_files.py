"""Which files a batch asks about, and what it calls them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from plugins.cli.batch_files import digest_of, expand, label

OUT = Path("out.jsonl")


@pytest.fixture(autouse=True)
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files in the working folder."""
    for name in ("b.png", "a.png", "c.pdf", ".hidden.png", "[1].png", "deep/d.png"):
        path = tmp_path / "inbox" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "inbox"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["inbox/?.png"], ["inbox/a.png", "inbox/b.png"]),
        (["inbox"], ["inbox/[1].png", "inbox/a.png", "inbox/b.png", "inbox/c.pdf"]),
        (["inbox/**/d.png"], ["inbox/deep/d.png"]),
        (["inbox/[1].png"], ["inbox/[1].png"]),
        (["inbox/b.png", "inbox/?.*"], ["inbox/b.png", "inbox/a.png", "inbox/c.pdf"]),
        (["inbox/*.gif", "gone", ""], []),
    ],
)
def test_patterns_name_files(patterns: list[str], expected: list[str]) -> None:
    assert list(expand(patterns, OUT)) == expected


def test_absolute_patterns_name_absolute_files(inbox: Path) -> None:
    assert expand([f"{inbox}/a.*"], OUT) == (f"{inbox}/a.png",)


def test_the_results_are_not_one_of_the_files(inbox: Path) -> None:
    assert "inbox/a.png" not in expand(["inbox"], inbox / "a.png")


def test_content_makes_the_digest(inbox: Path) -> None:
    before = digest_of("inbox/a.png")
    (inbox / "a.png").write_text("b.png")

    assert before != digest_of("inbox/a.png") == digest_of("inbox/b.png")


def test_what_cannot_be_read_has_no_digest() -> None:
    assert digest_of("inbox/gone.png") == ""


def test_a_name_that_is_no_text_becomes_text(inbox: Path) -> None:
    # macOS has no such names.
    with contextlib.suppress(OSError):
        (inbox / os.fsdecode(b"\xff.png")).write_text("x")

        assert label(next(name for name in expand(["inbox"], OUT) if "\udcff" in name)) == "inbox/\\xff.png"
