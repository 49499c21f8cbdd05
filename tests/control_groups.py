"""Control groups of Linux, in which a test gives a process less of the machine than it has."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
# What files of version 2 are called in version 1.
OLD_NAMES = {"memory.max": "memory.limit_in_bytes"}


@contextlib.contextmanager
def control_group(controller: str, limits: Mapping[str, int]) -> Iterator[Path]:
    """A group below our own with *limits*, file of version 2 to value; who is put in obeys them from then on.

    Skips the test where this may not be done: without rights, or under version 2 where our own group has
    processes in it.
    """
    folder = _own(controller) / f"mlxd-test-{uuid.uuid4().hex[:8]}"
    home = folder.parent / "cgroup.procs"
    try:
        folder.mkdir()
        for file, value in limits.items():
            name = file if (folder / "cgroup.type").exists() else OLD_NAMES.get(file, file)
            (folder / name).write_text(str(value))
    except OSError as e:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group of {controller} can be made: {e.strerror}")
    try:
        yield folder / "cgroup.procs"
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                home.write_text(pid)
        folder.rmdir()


def _own(controller: str) -> Path:
    """Our group: version 1 has a tree a controller, version 2 one for all."""
    own = dict(
        line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":" in line
    )
    if controller in own:
        return ROOT / controller / own[controller].lstrip("/")
    return ROOT / own.get("", "/").lstrip("/")
