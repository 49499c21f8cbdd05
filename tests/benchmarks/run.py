"""All benchmarks with one command: python tests/benchmarks/run.py [--quick] [--json] [NAME...]

Prints each figure beside its target. Run it on a quiet machine; nothing here is a test.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version

from rich.console import Console
from rich.table import Table
from support import Figure

# Name -> (module, size of a full run, size of a quick one).
BENCHMARKS = {
    "kernel": ("bench_kernel", 6400, 1280),
    "http": ("bench_http", 1000, 200),
    "start": ("bench_start", 7, 3),
    "images": ("bench_images", 30, 10),
    "queue": ("bench_queue", 1000, 400),
    "refused": ("bench_refused", 300, 100),
    "bodies": ("bench_bodies", 5, 1),
    "catalog": ("bench_catalog", 50, 10),
    "faults": ("bench_faults", 1000, 20),
    "residency": ("bench_residency", 8, 2),
    "leaving": ("bench_leaving", 40, 8),
    "orphans": ("bench_orphans", 200, 20),
    "interrupts": ("bench_interrupts", 200, 20),
    "idle": ("bench_idle", 1000, 250),
    "slow": ("bench_slow_clients", 400, 200),
    "decode": ("bench_decode", 7, 3),
    "calls": ("bench_calls", 1_000_000, 2000),
    "schemas": ("bench_schemas", 200, 12),
    "grammar": ("bench_grammar", 7, 3),
    "vision": ("bench_vision", 7, 3),
    "photo": ("bench_photo", 30, 10),
    "prefill": ("bench_prefill", 2, 1),
    "flood": ("bench_flood", 1_000_000, 20_000),
    "foreign": ("bench_foreign_prompts", 200, 40),
    "neighbours": ("bench_neighbours", 3, 1),
    "stdio": ("bench_stdio", 20, 6),
    "lsp": ("bench_lsp", 1000, 200),
}


def machine() -> dict[str, object]:
    """What the figures belong to."""
    return {
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "mlxd": version("mlxd"),
        "pyzmq": version("pyzmq"),
        "aiohttp": version("aiohttp"),
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    console = Console(stderr=True)
    about = machine()
    figures: list[Figure] = []
    for name in arguments.name or BENCHMARKS:
        module, full, quick = BENCHMARKS[name]
        with console.status(f"measuring {name}"):
            figures += asyncio.run(import_module(module).measure(quick if arguments.quick else full))
    if arguments.json:
        print(json.dumps({"machine": about, "figures": [asdict(figure) for figure in figures]}))
    else:
        Console().print(_table(about, figures))
    sys.exit(any(figure.is_met is False for figure in figures))


def _table(about: dict[str, object], figures: list[Figure]) -> Table:
    table = Table(title=", ".join(f"{key} {value}" for key, value in about.items()), title_justify="left")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_column("to reach", justify="right")
    table.add_column("")
    for figure in figures:
        target = f"{figure.target[0]} {figure.target[1]:g}" if figure.target else ""
        met = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}[figure.is_met]
        name = f"{figure.name}\n[dim]{figure.detail}[/]" if figure.detail else figure.name
        table.add_row(name, f"{figure.value:.3g} {figure.unit}", target, met)
    return table


if __name__ == "__main__":
    main()
