"""The kernel's children as asyncio sees them: start with a bootstrap line, keep last words, signal, reap."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kernel.events import Event, ProcessExited, ProcessStarted
from kernel.last_words import LastWords
from kernel.leftovers import Children
from kernel.logfiles import LogFiles
from kernel.oom import OomKills
from transports.child_output import output_lines

# For its last words, once it has ended.
READ_TIMEOUT_S = 1.0

SIGNALS = {"term": signal.SIGTERM, "kill": signal.SIGKILL}


class Processes:
    """Children by the supervisor's names; events about them go to *on_event*."""

    def __init__(self, on_event: Callable[[Event], None], logs: LogFiles, noted: Children) -> None:
        self._on_event = on_event
        self._logs = logs
        self._noted = noted
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._oom_kills = OomKills()

    def spawn(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path, bootstrap: bytes
    ) -> None:
        """Start a child; ProcessStarted and, when it ends, ProcessExited follow.

        Args:
            name: The supervisor's.
            command: Program and arguments.
            env: Its whole environment.
            cwd: Its working directory, private to us.
            bootstrap: One line for its stdin, which then stays open until we die.
        """
        task = asyncio.create_task(self._live(name, command, env, cwd, bootstrap))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def kill(self, name: str, signal_: str) -> None:
        """Signal a child and everything that it started."""
        if child := self._children.get(name):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, SIGNALS[signal_])

    async def close(self) -> None:
        """Kill what is left and wait for it."""
        for name in list(self._children):
            self.kill(name, "kill")
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _live(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path, bootstrap: bytes
    ) -> None:
        try:
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        # ValueError: a null byte in the environment or in a path.
        except (OSError, ValueError) as e:
            reason = e.strerror if isinstance(e, OSError) else e
            self._on_event(ProcessExited(name, None, (f"{command[0]}: {reason}",)))
            return
        self._children[name] = child
        num_oom_kills = self._oom_kills.num()
        self._on_event(ProcessStarted(name, child.pid))
        if child.stdin is None or child.stderr is None:
            raise RuntimeError("asyncio gave a child without the pipes that we asked for")
        with contextlib.suppress(OSError):
            child.stdin.write(bootstrap)
        last_words = LastWords()
        reader = asyncio.create_task(self._read(name, child.stderr, last_words))
        await asyncio.to_thread(self._noted.add, child.pid)
        returncode = await child.wait()
        memory_ran_out = returncode == -signal.SIGKILL and self._oom_kills.claim(num_oom_kills)
        self._noted.remove(child.pid)
        del self._children[name]
        # Its own children die with it, and with them the last holders of its stderr.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        # One that left our group may hold it open; what became of the reader must not hide the exit.
        await asyncio.wait([reader], timeout=READ_TIMEOUT_S)
        reader.cancel()
        self._logs.end(name)
        child.stdin.close()
        signal_name = _signal_name(returncode)
        self._on_event(ProcessExited(name, returncode, last_words.lines(), signal_name, memory_ran_out))

    async def _read(self, name: str, stderr: asyncio.StreamReader, last_words: LastWords) -> None:
        async for line in output_lines(stderr):
            self._logs.write(name, line)
            last_words.add(line)


def _signal_name(returncode: int) -> str:
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return ""
