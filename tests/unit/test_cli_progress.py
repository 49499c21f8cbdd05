"""The progress bars, as a terminal gets them."""

from __future__ import annotations

import io

import click
import pytest

from plugins.cli.progress import ProgressView, Speed, words
from transports.messages import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_leaves_room_for_the_echo_of_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """With it the line would become two, and the first would stay when the bar is cleared."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    with ProgressView() as view:
        view.update("demo/smollm2-135m", Progress(phase="download", detail="x" * 200))

    lines = [
        line for line in click.unstyle(terminal.getvalue()).replace("\r", "\n").split("\n") if "demo" in line
    ]
    assert lines
    assert max(map(len, lines)) == 78


def test_a_download_tells_bytes_speed_and_files() -> None:
    progress = Progress(
        phase="download", detail="3 of 12 files", num_bytes=1_200_000_000, total_bytes=4_500_000_000
    )

    assert words(progress, 34e6) == "1.2 GB of 4.5 GB, 34 MB/s, 1 min 37 s left, 3 of 12 files"


def test_a_speed_is_that_of_the_last_seconds() -> None:
    speed = Speed()

    assert speed.measure(0, 1000) == 0
    assert speed.measure(1, 2000) == 1000
    assert [speed.measure(now, 2000) for now in (4, 8, 12)][-1] == 0


def test_a_download_that_began_anew_has_no_negative_speed() -> None:
    speed = Speed()
    speed.measure(0, 5000)

    assert speed.measure(1, 0) == 0


def test_a_download_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    with ProgressView() as view:
        for num_bytes in (53_000_000, 54_000_000):
            view.update(
                "",
                Progress(
                    phase="download", detail="15 of 16 files", num_bytes=num_bytes, total_bytes=99_000_000
                ),
            )

    shown = click.unstyle(terminal.getvalue())
    assert "54 MB of 99 MB" in shown
    assert " s left" in shown


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        # A place in memory is waited for too, so no word of slots.
        (Progress(phase="queued"), "waiting for its turn"),
        (Progress(phase="queued", position=3), "waiting for its turn, position 3"),
        (Progress(phase="queued", detail="another pull of it runs"), "waiting: another pull of it runs"),
    ],
)
def test_what_is_waited_for(progress: Progress, said: str) -> None:
    assert words(progress) == said
