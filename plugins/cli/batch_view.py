"""Shows on stderr how far a batch is: a bar in a terminal, a line a file elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

from plugins.cli.results import Result
from plugins.cli.sanitize import clean_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class BatchView:
    """Counts the files of a batch and shows them."""

    def __init__(self, num_files: int, *, num_skipped: int = 0, is_live: bool | None = None) -> None:
        self._num_files = num_files
        self._is_live = sys.stderr.isatty() if is_live is None else is_live
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self.num_answered = 0
        # Answered by an earlier run.
        self.num_skipped = num_skipped
        self.num_failed = 0
        # Whether any file was worked on.
        self.has_begun = False

    @property
    def num_ended(self) -> int:
        """Files that need no more work."""
        return self.num_answered + self.num_skipped + self.num_failed

    def ended(self, result: Result) -> None:
        """A file has its answer, or will have none."""
        if result.error:
            self.num_failed += 1
            told = result.error.message
            # Most errors begin with the file.
            self._tell(told if told.startswith(result.file) else f"{result.file}: {told}")
        else:
            self.num_answered += 1
            if not self._is_live:
                self._tell(f"{result.file}: answered in {result.seconds:.1f} s")
        self._draw()

    def summary(self, out: str) -> str:
        """How it went, in a line."""
        parts = [f"{self.num_answered} answered"]
        if self.num_skipped:
            parts.append(f"{self.num_skipped} answered before")
        if self.num_failed:
            parts.append(f"{self.num_failed} failed")
        if left := self._num_files - self.num_ended:
            parts.append(f"{left} left; the same command goes on with them")
        return clean_line(f"{self._num_files} files: {', '.join(parts)}. Results: {out}")

    def __enter__(self) -> BatchView:
        self.has_begun = True
        if self._is_live:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def _tell(self, line: str) -> None:
        line = clean_line(f"{self.num_ended}/{self._num_files} {line}")
        if self._bars:
            self._bars.console.print(line, soft_wrap=True)
        else:
            click.echo(line, err=True)

    def _draw(self) -> None:
        if self._bars and self._task is not None:
            failed = f"{self.num_failed} failed" if self.num_failed else ""
            self._bars.update(self._task, completed=self.num_ended, description=failed)

    def _start(self) -> None:
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars  # noqa: PLC0415

        from plugins.cli.output import console  # noqa: PLC0415

        self._bars = Bars(
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=console(stderr=True),
            transient=True,
            redirect_stdout=False,
        )
        self._task = self._bars.add_task("", total=self._num_files, completed=self.num_ended)
        self._bars.start()
