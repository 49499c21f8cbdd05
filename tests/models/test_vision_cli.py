"""The embedded vision model from the command line, with nothing running: as the README has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import pdf, png, scorecard, shapes, text
from running import VISION_MODEL

pytestmark = pytest.mark.models

MLXD = str(Path(sys.executable).with_name("mlxd"))
TIMEOUT_S = 110.0


@pytest.fixture(autouse=True)
def vision_home(home: Path, vision_prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private MLXD_HOME with the vision environment; the working folder has pictures."""
    (home / "envs").symlink_to(vision_prepared / "envs")
    monkeypatch.setenv("MLXD_KERNEL_FRONTENDS", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.png").write_bytes(png(shapes(("red", "circle"))))
    return home


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MLXD, "run", VISION_MODEL, *args, "--temperature", "0"],
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_it_says_what_is_in_a_picture_and_in_a_document() -> None:
    Path("pages.pdf").write_bytes(pdf([shapes(("green", "square")), text("42")]))

    picture = run("What color is the circle?", "--image", "picture.png")
    page = run("What number is written?", "--pdf", "pages.pdf", "--pages", "2")

    assert (picture.returncode, picture.stdout) == (0, "red\n"), picture.stderr
    assert (page.returncode, page.stdout) == (0, "42\n"), page.stderr


def test_it_reads_a_folder_of_scorecards_with_two_corrupt_files() -> None:
    labels = ("Cost", "Tests", "Latency")
    Path("inbox").mkdir()
    for number in range(9):
        red = number % 3
        rows = [
            (label, str(10 * number + i), "red" if i == red else "green") for i, label in enumerate(labels)
        ]
        Path(f"inbox/{number}.png").write_bytes(png(scorecard(*rows)))
    Path("inbox/cut.png").write_bytes(Path("inbox/0.png").read_bytes()[:300])
    Path("inbox/notes.png").write_text("no picture")

    done = run("Which row is red?", "--each", "inbox/*.png", "--out", "results.jsonl")

    results = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    said = {line["file"]: line.get("answer") for line in results}
    expected = {f"inbox/{number}.png": labels[number % 3] for number in range(9)}
    assert (done.returncode, "11 files: 9 answered, 2 failed." in done.stderr) == (1, True), done.stderr
    assert said == expected | {"inbox/cut.png": None, "inbox/notes.png": None}
