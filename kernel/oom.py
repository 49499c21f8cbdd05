"""Whether the system has killed for want of memory lately: it tells how often, and not whom. Linux only."""

from __future__ import annotations

from pathlib import Path

VMSTAT = Path("/proc/vmstat")
FIELD = "oom_kill "


class OomKills:
    """Counts them; kills in containers and control groups count too."""

    def __init__(self) -> None:
        self._claimed = _read()

    def num(self) -> int:
        """How many there were since the machine started; 0 where the system does not tell."""
        return _read()

    def claim(self, since: int) -> bool:
        """Whether there was one that no other process has died of, after `num` was *since*."""
        num = _read()
        is_new = num > max(since, self._claimed)
        if is_new:
            self._claimed = num
        return is_new


def _read() -> int:
    try:
        lines = VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.removeprefix(FIELD)) for line in lines if line.startswith(FIELD)), 0)
