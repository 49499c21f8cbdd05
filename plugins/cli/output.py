"""What commands print: tables for people, JSON for programs, sizes and times in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from plugins.cli.sanitize import clean_line

if TYPE_CHECKING:
    from rich.console import Console

# A table that is piped into a program is not cut to a screen.
PIPE_WIDTH = 10_000


def console(*, stderr: bool = False) -> Console:
    """A rich console that shows text as it is: no markup, no emoji names, no guessed colours."""
    # Imported here: it takes as long as the rest of a small command.
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if stream.isatty() else PIPE_WIDTH,
    )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, folded: str = "") -> None:
    """Print rows under column heads; the column *folded* gives way where the screen is narrow."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column, no_wrap=column != folded, overflow="fold" if column == folded else "ellipsis"
        )
    for row in rows:
        table.add_row(*(Text(clean_line(cell)) for cell in row))
    console().print(table)


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and values, one a line; empty values are left out."""
    width = max(len(name) for name in fields) + 2
    for name, value in fields.items():
        if value:
            print(f"{name:<{width}}{clean_line(value)}")


def print_json(value: object) -> None:
    """Print a value, structs with all their fields, as JSON in ASCII: nothing in it can act on a terminal."""
    print(json.dumps(plain(value), indent=2))


def plain(value: object) -> object:
    """Structs and tuples as dicts and lists; unlike on the wire, defaults are there too."""
    match value:
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
        case bytes():
            return value.hex()
        case _:
            return value


def size(size_bytes: int) -> str:
    """A size in words, decimal units, two digits or more: 98_300_000 -> "98 MB", 1_300 -> "1.3 kB"."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    amount, unit = float(size_bytes), ""
    for unit in ("kB", "MB", "GB", "TB"):  # noqa: B007 -- the unit is used below.
        amount /= 1000
        if amount < 999.5:
            break
    return f"{amount:.1f} {unit}" if amount < 9.95 or unit == "TB" else f"{amount:.0f} {unit}"


def memory(own_bytes: int, gpu_bytes: int) -> str:
    """What a process takes of the machine's memory and of a GPU's: "310 MB + 3.1 GB GPU"; "" for nothing."""
    own = size(own_bytes) if own_bytes else ""
    return f"{own or '0 B'} + {size(gpu_bytes)} GPU" if gpu_bytes else own


def duration(seconds: float, num_units: int = 2) -> str:
    """A time in words, its largest units: 3725 -> "1 h 2 min"."""
    whole = int(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for i, (unit, length) in enumerate(units):
        if whole >= length:
            rest = whole % length // units[i + 1][1] if unit != "s" else 0
            more = f" {rest} {units[i + 1][0]}" if rest and num_units > 1 else ""
            return f"{whole // length} {unit}{more}"
    return "0 s"
