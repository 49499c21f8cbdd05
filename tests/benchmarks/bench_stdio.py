"""How soon `mlxd stdio` answers its first message, from the start of its process, with a kernel running."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from support import Figure, echo_home, percentile, running_kernel, temporary_home

MLXD = str(Path(sys.executable).with_name("mlxd"))
# The first message of each protocol -> its params.
FIRST: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "LSP": ("initialize", {"processId": None, "rootUri": None, "capabilities": {}}),
    "ACP": ("initialize", {"protocolVersion": 1, "clientCapabilities": {}}),
    "raw": ("models.list", {}),
}


def _answer_ms(home: Path, method: str, params: Mapping[str, object]) -> float:
    """From the start of the process to the whole answer."""
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    started_s = time.perf_counter()
    with subprocess.Popen(
        [MLXD, "stdio"],
        env={**os.environ, "MLXD_HOME": str(home), "MLXD_LOG_LEVEL": "error"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(message + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        taken_ms = (time.perf_counter() - started_s) * 1e3
        process.stdin.close()
    if "result" not in answer:
        raise RuntimeError(f"{method}: {answer}")
    return taken_ms


def _interpreter_ms() -> float:
    """An interpreter with its event loop, which is what is not our own time."""
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import asyncio"], check=True)
    return (time.perf_counter() - started_s) * 1e3


async def measure(count: int) -> list[Figure]:
    """Of *count* starts each."""
    figures: list[Figure] = []
    with temporary_home() as folder:
        home = echo_home(folder)
        async with running_kernel(home):
            bare_ms = percentile([await asyncio.to_thread(_interpreter_ms) for _ in range(count)], 50)
            for name, (method, params) in FIRST.items():
                taken_ms = [await asyncio.to_thread(_answer_ms, home, method, params) for _ in range(count)]
                median_ms = percentile(taken_ms, 50)
                what = f"{method} of {name} answered after process start"
                if method != "initialize":
                    figures.append(Figure(f"{what}, median", median_ms, "ms"))
                    continue
                figures += [
                    Figure(f"{what}, p90", percentile(taken_ms, 90), "ms", ("<=", 300)),
                    Figure(
                        f"{what}, median of our own time",
                        median_ms - bare_ms,
                        "ms",
                        ("<=", 100),
                        f"less the {bare_ms:.0f} ms of an interpreter that imports asyncio",
                    ),
                ]
    return figures


if __name__ == "__main__":
    for figure in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)):
        print(figure)
