"""Programs that the kernel runs to their end, such as uv: bounded, watched, gone with the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from transports.child_output import output_lines

# What is kept of a program's output for its error message.
MAX_KEPT_LINES = 200


class ToolResult(Struct, frozen=True, kw_only=True):
    """How a program ended; `lines` are the last ones of its output."""

    returncode: int
    lines: tuple[str, ...]


async def run_tool(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    timeout_s: float,
    on_line: Callable[[str], None] = lambda _line: None,
) -> ToolResult:
    """Run *command* to its end and hand each line of stdout and stderr to *on_line*.

    What it started is killed, not asked, when it is late or we are cancelled: tools write to
    temporary folders only.

    Raises:
        TimeoutError: It took longer than *timeout_s*, seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "kernel.tethered"),
        *(os.fspath(word) for word in command),
        stdin=asyncio.subprocess.PIPE,  # Never written to: it is the tether.
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
    )
    kept: deque[str] = deque(maxlen=MAX_KEPT_LINES)
    try:
        async with asyncio.timeout(timeout_s):
            assert process.stdout is not None  # noqa: S101 - asked for above
            async for line in output_lines(process.stdout):
                kept.append(line)
                on_line(line)
            returncode = await process.wait()
    finally:
        # Also after a good end: nothing that it left behind may live on.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
    return ToolResult(returncode=returncode, lines=tuple(kept))
