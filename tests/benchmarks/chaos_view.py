"""What a person sees of a chaos run: clients and their ends, faults, the last events; at the end a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chaos_rest import MIB
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from chaos import Run

NUM_EVENTS_SHOWN = 8
ENDS = ("done", "failed", "broken", "left")


class View:
    """The display of one run."""

    def __init__(self, run: Run, *, is_silent: bool) -> None:
        self._run = run
        self._is_silent = is_silent
        self._console = Console(stderr=True)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """A live display while the block lasts; on what is no terminal, a line a round."""
        if self._is_silent or not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._picture, console=self._console, refresh_per_second=4, transient=True):
            yield

    def rested(self) -> None:
        """A round is over and all is well."""
        if not self._is_silent and not self._console.is_terminal:
            self._console.print(self._headline())

    def print_summary(self) -> None:
        """The tables that stay."""
        Console().print(Group(self._headline(), self._clients(), self._faults(), self._codes()))

    def _picture(self) -> RenderableType:
        tables = Table.grid(padding=(0, 3))
        tables.add_row(self._clients(), self._faults())
        events = Text("\n".join(self._run.world.log[-NUM_EVENTS_SHOWN:]), no_wrap=True, overflow="ellipsis")
        return Group(self._headline(), tables, Panel(events, title="events", title_align="left"))

    def _headline(self) -> Text:
        run = self._run
        # The last life of each comes last.
        newest = {name: life[-1][1] for (name, _), life in run.memory.samples.items()}
        memory = ", ".join(f"{name} {size / MIB:.1f} MiB" for name, size in newest.items())
        return Text(
            f"seed {run.seed}   {run.world.now_s():.0f} of {run.total_s:.0f} s   round {run.num_rounds}   "
            f"{sum(run.ends.values())} requests   kernel no. {run.world.num_kernels}   {memory}"
        )

    def _clients(self) -> Table:
        table = Table(title="requests", title_justify="left")
        table.add_column("client")
        for end in ENDS:
            table.add_column(end, justify="right")
        for client in sorted({client for client, _ in self._run.ends}):
            table.add_row(client, *[str(self._run.ends[client, end]) for end in ENDS])
        return table

    def _faults(self) -> Table:
        table = Table(title="faults", title_justify="left")
        table.add_column("fault")
        table.add_column("times", justify="right")
        for fault, times in self._run.faults.most_common():
            table.add_row(fault.replace("_", " "), str(times))
        return table

    def _codes(self) -> Table:
        table = Table(title="how requests failed", title_justify="left")
        table.add_column("error")
        table.add_column("times", justify="right")
        for code, times in self._run.codes.most_common():
            table.add_row(code, str(times))
        return table
