"""What a test left running."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil


def child_pids() -> set[int]:
    """The processes that pytest's own process has started."""
    if sys.platform != "linux":
        return {child.pid for child in psutil.Process().children()}
    while True:
        # psutil looks at every process of the machine for it: 2 ms, twice in each of thousands of tests.
        with contextlib.suppress(OSError):
            lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
            return {int(pid) for pid in " ".join(lists).split()}
        # A thread has ended meanwhile, and its children are another's.


def commands_of_ours(pids: Iterable[int]) -> list[str]:
    """The ends of the command lines of our processes among these and their descendants."""
    commands: list[list[str]] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            child = psutil.Process(pid)
            commands += [_command(process) for process in (child, *child.children(recursive=True))]
    return [" ".join(command[-4:]) for command in commands if _is_ours(command)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_ours(command: list[str]) -> bool:
    return any(word.partition(".")[0] in ("kernel", "workers", "plugins") for word in command)
