"""Paths of pictures in what was pasted into `mlxd chat` or dropped onto its terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.cli.pasted import find_files

# As macOS names one: the last space is U+202F, which no terminal escapes.
SCREENSHOT = "Screenshot 2026-01-09 at 9.41.00\u202fAM.png"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with some files."""
    for name in ("a.png", "my chart.PNG", "it's.jpg", "report.pdf", "notes.txt", "(1).png", SCREENSHOT):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "rest", "names"),
    [
        ("a.png", "", ["a.png"]),
        ("a.png ", "", ["a.png"]),
        ("What is in a.png?", "What is in ?", ["a.png"]),
        ("Compare a.png, report.pdf.", "Compare , .", ["a.png", "report.pdf"]),
        (r"my\ chart.PNG ", "", ["my chart.PNG"]),
        (SCREENSHOT.replace(" ", "\\ ") + " ", "", [SCREENSHOT]),
        (f"What is in '{SCREENSHOT}'?", "What is in ?", [SCREENSHOT]),
        (r"it\'s.jpg", "", ["it's.jpg"]),
        ("it's.jpg", "", ["it's.jpg"]),
        (r"\(1\).png", "", ["(1).png"]),
        ("'my chart.PNG' a.png", "", ["my chart.PNG", "a.png"]),
        ('Read "my chart.PNG" aloud', "Read aloud", ["my chart.PNG"]),
        ("what's in a.png, it's red", "what's in , it's red", ["a.png"]),
        ("first\na.png\nsecond", "first\n\nsecond", ["a.png"]),
    ],
)
def test_existing_pictures_are_taken_out_of_the_line(
    folder: Path, line: str, rest: str, names: list[str]
) -> None:
    assert find_files(line) == (rest, names)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no file here",
        "gone.png",
        "notes.txt",
        "folder.png",
        "'  two  spaces'  stay",
        "~nobody-of-that-name/a.png",
        "a\0.png",
        "x" * 5000 + ".png",
        "https://example.com/a.png",
    ],
)
def test_a_line_without_pictures_stays_as_it_is(folder: Path, line: str) -> None:
    assert find_files(line) == (line, [])


def test_absolute_paths_and_file_urls_are_taken(folder: Path) -> None:
    url = (folder / "my chart.PNG").as_uri()

    assert find_files(f"{folder}/a.png {url}") == ("", [f"{folder}/a.png", url])
