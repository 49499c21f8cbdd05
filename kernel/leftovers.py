"""What a kernel that was killed left behind, ended and removed by the next one that starts in its place.

Children end with their kernel, but one that is stopped or stuck cannot. Each is noted in the run directory
with the time of its start, and only what still has that number, that time and that folder is ended: a number
alone may be anybody's by now.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from kernel.environment_build import BUILDING, TRASH
from kernel.provision import INCOMING
from kernel.removal import REMOVED
from transports.filelock import locked
from transports.logs import get_logger

log = get_logger()

# The clock that start times are told by may be set meanwhile.
START_TOLERANCE_S = 1.0
# For what was killed to be gone.
END_TIMEOUT_S = 2.0


class Children:
    """The living children of this kernel: a file each, named by its number, with the time of its start."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._folder = run_dir / "children"

    def add(self, pid: int) -> None:
        """Note a child; blocks: call it in a thread."""
        import psutil  # noqa: PLC0415  # 20 ms that no start should wait for.

        with contextlib.suppress(OSError, psutil.Error):
            started_s = psutil.Process(pid).create_time()
            self._folder.mkdir(exist_ok=True)
            (self._folder / str(pid)).write_text(repr(started_s))

    def remove(self, pid: int) -> None:
        """It has ended."""
        with contextlib.suppress(OSError):
            (self._folder / str(pid)).unlink()

    def close(self) -> None:
        """All have ended."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def sweep(self) -> None:
        """End those that an earlier kernel of this run directory noted and that still live."""
        try:
            noted = list(self._folder.iterdir())
        except OSError:
            return
        import psutil  # noqa: PLC0415  # As above.

        ended = []
        for file in noted:
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                process = psutil.Process(int(file.name))
                if self._is_ours(process, float(file.read_text())):
                    os.killpg(process.pid, signal.SIGKILL)
                    ended.append(process)
                    log.warning("leftover_ended", pid=process.pid, command=" ".join(process.cmdline()[-2:]))
        psutil.wait_procs(ended, timeout=END_TIMEOUT_S)
        self.close()

    # Any: psutil publishes no types.
    def _is_ours(self, process: Any, started_s: float) -> bool:
        return bool(
            abs(process.create_time() - started_s) < START_TOLERANCE_S
            and os.getpgid(process.pid) == process.pid
            and self._run_dir.samefile(process.cwd())
        )


async def sweep_folders(home: Path, hub: Path) -> None:
    """Remove folders that were being filled or removed; what somebody works on is locked and stays."""
    for folder, begins in ((home / "models", (INCOMING, REMOVED)), (home / "envs", (BUILDING, TRASH))):
        left = _left(folder, begins)
        with contextlib.suppress(TimeoutError, OSError):
            if left:
                async with locked(folder / ".lock", timeout_s=0.0):
                    await _remove(left)
    await _remove(_left(hub, (REMOVED,)))


def _left(folder: Path, begins: tuple[str, ...]) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.startswith(begins)]
    except OSError:
        return []


async def _remove(paths: list[Path]) -> None:
    for path in paths:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        log.info("leftover_removed", path=str(path))
