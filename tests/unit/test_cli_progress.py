"""The progress bars, as a terminal gets them."""

from __future__ import annotations

import io

import click
import pytest

from plugins.cli.progress import ProgressView
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
