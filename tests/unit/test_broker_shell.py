"""The kernel's shell when what it calls goes wrong: the kernel ends or goes on, it never sits there deaf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from kernel.actions import Action, Exit, ScanCatalog
from kernel.catalog import Catalog
from kernel.commands import Launcher
from kernel.events import CatalogScanned, Event, ProcessExited
from kernel.gauge import Gauge
from kernel.jobs import Jobs
from kernel.leftovers import Children
from kernel.logfiles import LogFiles
from kernel.processes import Processes
from kernel.shared_folder import SharedFolder
from kernel.shell import EXIT_INTERNAL_ERROR, Shell
from transports.settings import Settings


class Part:
    """Stands for jobs and processes that do nothing."""

    async def close(self) -> None:
        """See `Jobs.close`."""


class BrokenBroker:
    """Raises at the first timer."""

    def start(self, now: float) -> list[Action]:
        self.due_s = now
        return []

    def handle(self, event: Event, now: float) -> list[Action]:
        raise RuntimeError("a bug")

    def next_deadline(self) -> float:
        return self.due_s


class EndingBroker:
    """Ends at once, although a timer is due."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def start(self, now: float) -> list[Action]:
        self.due_s = now
        return [Exit(3)]

    def handle(self, event: Event, now: float) -> list[Action]:
        self.events.append(event)
        self.due_s = now + 60
        return []

    def next_deadline(self) -> float:
        return self.due_s


class ScanningBroker:
    """Looks at the disk and ends when it has been told what is there."""

    def start(self, now: float) -> list[Action]:
        self.due_s = now + 60
        return [ScanCatalog()]

    def handle(self, event: Event, now: float) -> list[Action]:
        return [Exit(3)] if isinstance(event, CatalogScanned) else []

    def next_deadline(self) -> float:
        return self.due_s


class BrokenCatalog:
    """A disk that cannot be read in a way that nobody thought of."""

    def scan(self) -> tuple[()]:
        raise RuntimeError("a bug")


def _shell(broker: object, short_path: Path) -> Shell:
    # Any: stand-ins with the few methods that are used.
    def part(_: Callable[[Event], None]) -> Any:
        return Part()

    return Shell(
        Settings(),
        cast(Any, broker),
        f"ipc://{short_path}/s",
        cast(Catalog, BrokenCatalog()),
        cast(SharedFolder, None),
        cast(Launcher, None),
        Gauge(),
        cast(Callable[[Callable[[Event], None]], Jobs], part),
        cast(Callable[[Callable[[Event], None]], Processes], part),
    )


async def test_a_kernel_with_a_bug_ends_and_says_so(short_path: Path) -> None:
    shell = _shell(BrokenBroker(), short_path)

    async with asyncio.timeout(5):
        assert await shell.run() == EXIT_INTERNAL_ERROR


async def test_nothing_happens_to_a_kernel_that_has_ended(short_path: Path) -> None:
    """Its socket is closed: what it would send went nowhere, and looked like a bug."""
    broker = EndingBroker()
    shell = _shell(broker, short_path)

    code = await shell.run()
    shell.stop(now=True)
    # A timer that is due fires with the next turn of the event loop.
    for _ in range(2):
        await asyncio.sleep(0)

    assert (code, broker.events) == (3, [])


async def test_a_disk_that_cannot_be_read_is_an_answer(short_path: Path) -> None:
    shell = _shell(ScanningBroker(), short_path)

    async with asyncio.timeout(5):
        assert await shell.run() == 3


@pytest.mark.parametrize("command", [["/no/such/program"], ["/bin/true\0"]])
async def test_a_process_that_cannot_be_started_has_exited(tmp_path: Path, command: list[str]) -> None:
    events: list[Event] = []
    processes = Processes(events.append, LogFiles(tmp_path, 1000), Children(tmp_path))

    processes.spawn("echo:m", command, {}, tmp_path, b"")
    await processes.close()

    (event,) = events
    assert isinstance(event, ProcessExited)
    assert event.returncode is None
