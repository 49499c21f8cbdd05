"""Log files of the kernel's children: as many open as there are children, and nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from kernel.logfiles import LogFiles

NUM_PROCESSES = 50


def test_the_file_of_a_process_that_ended_is_closed_and_goes_on_with_the_next(tmp_path: Path) -> None:
    """A server of months sees each model of the disk, one after the other."""
    files = LogFiles(tmp_path, 1 << 20)
    names = [f"echo:echo/{n}" for n in range(NUM_PROCESSES)]
    for name in names:
        files.write(name, "first life")
        files.end(name)
    deadline_s = time.monotonic() + 5
    while left := _open_below(tmp_path) or len(list(tmp_path.iterdir())) < NUM_PROCESSES:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.005)
    files.write(names[0], "second life")
    files.end("never wrote a line")
    files.close()

    assert (tmp_path / "echo-echo-0.log").read_text() == "first life\nsecond life\n"
    assert (tmp_path / "echo-echo-1.log").read_text() == "first life\n"


def _open_below(folder: Path) -> list[str]:
    return [file.path for file in psutil.Process().open_files() if Path(file.path).parent == folder]
