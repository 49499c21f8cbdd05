"""Mutated outputs of models that call tools, through each of mlx-lm's parsers: none raises or takes long.

Spread over all processors, a process each. A time is what reading one output takes of the processor, of which
other programs take nothing; the longest step is what answers beside it wait for when it comes in pieces.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from typing import Any

from library import worker_python
from support import ROOT, Figure

PROBE = ROOT / "tests" / "models" / "tool_parser_probe.py"
MAX_MS = 50.0


async def measure(num_mutated: int, seed: str = "") -> list[Figure]:
    """Of so many mutated outputs a parser, made from *seed*."""
    num_processes = os.cpu_count() or 1
    share = -(-num_mutated // num_processes)
    found = await asyncio.gather(*[_shares(share, f"{seed}-{at}") for at in range(num_processes)])
    families: dict[str, list[dict[str, Any]]] = {}
    for findings in [one for shares in found for one in shares]:
        families.setdefault(findings["family"], []).append(findings)
    figures = [_figure(family, shares) for family, shares in families.items()]
    for name, key in (("raised by", "raised"), ("read otherwise in pieces", "differing")):
        seen = [what for shares in families.values() for one in shares for what in one[key]]
        figures.append(Figure(f"mutated outputs {name}", len(seen), "", ("<=", 0), "; ".join(seen[:3])))
    return figures


async def _shares(num_mutated: int, share: str) -> list[dict[str, Any]]:
    """What one process found."""
    process = await asyncio.create_subprocess_exec(
        *(worker_python("text"), "-P", PROBE, str(num_mutated), share),
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{PROBE.parent}"},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode:
        ended = -process.returncode
        raise SystemExit(f"{signal.Signals(ended).name if ended > 0 else 'an error'} ended share {share}")
    return [json.loads(line) for line in said.splitlines()]


def _figure(family: str, shares: list[dict[str, Any]]) -> Figure:
    times: Counter[int] = Counter()
    for one in shares:
        times.update({int(tenths): count for tenths, count in one["times"].items()})
    num_read = times.total()
    num_called, num_slow = sum(one["num_called"] for one in shares), 0
    for tenths in sorted(times, reverse=True):
        p99_ms, num_slow = (tenths + 1) / 10, num_slow + times[tenths]
        if num_slow > num_read / 100:
            break
    step_ms, wall_ms = (max(one[key] for one in shares) * 1e3 for key in ("longest_step_s", "slowest_wall_s"))
    worst = max(shares, key=lambda one: one["slowest_s"])
    slowest_ms = worst["slowest_s"] * 1e3
    return Figure(
        f"{family}: slowest of {num_read:,} mutated outputs",
        slowest_ms,
        "ms",
        ("<=", MAX_MS),
        f"p99 below {p99_ms:.1f} ms; the longest step of one in pieces {step_ms:.1f} ms; "
        f"{num_called / num_read:.0%} read as calls; by the wall {wall_ms:.0f} ms"
        + (f"; {worst['slowest']}" if slowest_ms > MAX_MS else ""),
    )


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, *sys.argv[2:])):
        print(figure)
