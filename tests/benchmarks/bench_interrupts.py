"""Ctrl-C at a random moment of `mlxd run` with the real model: of its start, its import of mlx, its answer.

The signal goes to the process group, as a terminal sends it. Nothing may be left, and nobody sees a
traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from bench_orphans import working_in
from support import REAL, Figure, percentile, real_home

# Longer than all of it takes.
MAX_DELAY_S = 3.0
GONE_WITHIN_S = 3.0
MLXD = Path(sys.executable).with_name("mlxd")


async def _interrupt_once(home: Path) -> tuple[int, bool, float]:
    """How many processes stayed, whether a traceback of ours was seen, seconds until all were gone."""
    process = await asyncio.create_subprocess_exec(
        *(MLXD, "run", REAL, "Count to a hundred."),
        env=os.environ | {"MLXD_HOME": str(home), "MLXD_KERNEL_FRONTENDS": ""},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    await asyncio.sleep(random.uniform(0.05, MAX_DELAY_S))
    interrupted_s = time.perf_counter()
    with contextlib.suppress(ProcessLookupError):  # It had said all.
        os.killpg(process.pid, signal.SIGINT)
    _, error = await process.communicate()
    while left := await asyncio.to_thread(working_in, home):
        if time.perf_counter() - interrupted_s > GONE_WITHIN_S:
            break
        await asyncio.sleep(0.02)
    gone_s = time.perf_counter() - interrupted_s
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    # Before our code runs Python itself prints where it was interrupted.
    return len(left), b"Traceback" in error and b"plugins/" in error, gone_s


async def measure(count: int) -> list[Figure]:
    """*count* runs are interrupted."""
    # Ignored in a shell's background job, and then by all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = real_home()
    ends = [await _interrupt_once(home) for _ in range(count)]
    gone_s = [taken_s for _, _, taken_s in ends]
    return [
        Figure(
            f"orphans after {count} Ctrl-C in the first {MAX_DELAY_S:g} s of `mlxd run`",
            sum(num_left for num_left, _, _ in ends),
            "processes",
            ("<=", 0),
            f"all gone after: median {percentile(gone_s, 50):.3f} s, slowest {max(gone_s):.3f} s",
        ),
        Figure("of these with a traceback", sum(traced for _, traced, _ in ends), "runs", ("<=", 0)),
    ]


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)):
        print(figure)
