"""Shows on stderr why something takes time: bars in a terminal, a line a phase elsewhere."""

from __future__ import annotations

import sys
import time
from collections import defaultdict, deque
from types import TracebackType
from typing import TYPE_CHECKING

import click

from plugins.cli.output import duration, size
from plugins.cli.sanitize import clean_line
from transports.messages import Phase, Prefill, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

WORDS: dict[Phase, str] = {
    "queued": "waiting for its turn",
    "environment": "building the environment",
    "download": "fetching the model",
    "convert": "converting the model",
    "start": "starting the worker",
    "load": "loading the model",
    "prefill": "reading the prompt",
}
# Over before a person could read a line about it, unless there is a detail to tell.
SHORT_PHASES = frozenset({"queued", "start", "prefill"})
# Spinner, bar, percent, time and the spaces between, and two for the ^C that a terminal echoes: a line
# that it makes too long would not be cleared.
OTHER_COLUMNS = 34
# A speed is that of so many seconds.
SPEED_WINDOW_S = 5.0
# A shorter prompt is read too quickly for a bar.
MIN_PREFILL_TOKENS = 512


class Speed:
    """Bytes a second over the last moments; pure."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def measure(self, now: float, num_bytes: int) -> float:
        """Note how much there is by *now*, seconds; the speed up to here."""
        if self._seen and num_bytes < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, num_bytes))
        while len(self._seen) > 2 and now - self._seen[0][0] > SPEED_WINDOW_S:
            self._seen.popleft()
        first_s, first_bytes = self._seen[0]
        return (num_bytes - first_bytes) / (now - first_s) if now > first_s else 0.0


class ProgressView:
    """The progress of several things, each with a name ("" for the only one); `close` removes it again."""

    def __init__(self, *, is_live: bool | None = None) -> None:
        self._is_live = sys.stderr.isatty() if is_live is None else is_live
        self._phases: dict[str, Phase] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._speeds: defaultdict[str, Speed] = defaultdict(Speed)

    def update(self, name: str, progress: Progress | Prefill) -> None:
        """Show how far *name* is."""
        if isinstance(progress, Prefill):
            if progress.num_total < MIN_PREFILL_TOKENS:
                return
            progress = Progress(phase="prefill", fraction=progress.num_done / progress.num_total)
        if self._is_live:
            self._draw(name, progress)
        elif self._phases.get(name) != progress.phase and (
            progress.detail or progress.phase not in SHORT_PHASES
        ):
            click.echo(_prefix(name) + words(progress), err=True)
        self._phases[name] = progress.phase

    def log(self, line: str) -> None:
        """Print a line on stderr, above the bars."""
        if self._bars:
            self._bars.console.print(line, soft_wrap=True)
        else:
            click.echo(line, err=True)

    def finish(self, name: str) -> None:
        """*name* needs no waiting any more."""
        self._phases.pop(name, None)
        if self._bars and name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))

    def close(self) -> None:
        """Remove the bars; a later update starts anew."""
        if self._bars:
            self._bars.stop()
            self._bars = None
        self._tasks.clear()
        self._phases.clear()

    def __enter__(self) -> ProgressView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draw(self, name: str, progress: Progress) -> None:
        bars = self._bars or self._start()
        if name not in self._tasks:
            self._tasks[name] = bars.add_task("", total=1, percent="")
        elif self._phases.get(name) != progress.phase:
            bars.reset(self._tasks[name])
        bars.update(
            self._tasks[name],
            description=_prefix(name) + words(progress, self._speed(name, progress)),
            total=None if progress.fraction is None else 1,
            completed=progress.fraction or 0,
            percent="" if progress.fraction is None else f"{progress.fraction:.0%}",
        )

    def _speed(self, name: str, progress: Progress) -> float:
        if not progress.total_bytes:
            return 0.0
        return self._speeds[name].measure(time.monotonic(), progress.num_bytes)

    def _start(self) -> Bars:
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as Bars  # noqa: PLC0415
        from rich.table import Column  # noqa: PLC0415

        from plugins.cli.output import console  # noqa: PLC0415

        stderr = console(stderr=True)
        self._bars = Bars(
            SpinnerColumn(),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[percent]:>4}"),
            TimeElapsedColumn(),
            # Last: a narrow terminal cuts off the details.
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(
                    no_wrap=True, overflow="ellipsis", max_width=max(stderr.width - OTHER_COLUMNS, 1)
                ),
            ),
            console=stderr,
            transient=True,
            # Our answer goes to stdout as it is.
            redirect_stdout=False,
        )
        self._bars.start()
        return self._bars


def _prefix(name: str) -> str:
    return f"{clean_line(name)}: " if name else ""


def words(progress: Progress, bytes_per_s: float = 0.0) -> str:
    """What is being done, how far it is, and how long a download will take at this speed."""
    detail = clean_line(progress.detail)
    if not progress.total_bytes:
        if progress.phase == "queued" and detail:
            return f"waiting: {detail}"
        place = f", position {progress.position}" if progress.position else ""
        return WORDS[progress.phase] + place + (f" ({detail})" if detail else "")
    parts = [f"{size(progress.num_bytes)} of {size(progress.total_bytes)}", detail]
    left_bytes = progress.total_bytes - progress.num_bytes
    if bytes_per_s and left_bytes > 0:
        parts[1:1] = [f"{size(int(bytes_per_s))}/s", f"{duration(left_bytes / bytes_per_s)} left"]
    return ", ".join(part for part in parts if part)
