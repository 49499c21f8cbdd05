"""Whether the system has killed for want of memory lately: it tells how often, and not whom. Linux only."""

from __future__ import annotations

from pathlib import Path

VMSTAT = Path("/proc/vmstat")
FIELD = "oom_kill "


class OomKills:
    """Counts since somebody last looked; kills in containers and control groups count too."""

    def __init__(self) -> None:
        self._seen = _read()

    def rose(self) -> bool:
        """Whether there was one since the last look; False where the system does not tell."""
        before, self._seen = self._seen, _read()
        return self._seen > before


def _read() -> int:
    try:
        lines = VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.removeprefix(FIELD)) for line in lines if line.startswith(FIELD)), 0)
