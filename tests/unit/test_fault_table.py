"""The table of faults names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "process" / "README.md"
NUM_ROWS = 50


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_fault_has_a_row() -> None:
    assert [int(row[0]) for row in rows()] == list(range(1, NUM_ROWS + 1))


def test_the_tests_that_it_names_are_there() -> None:
    missing = []
    for number, *_, tests in rows():
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", tests)
        assert named, f"row {number} names no test"
        for file, name in named:
            path = ROOT / file if "/" in file else TABLE.with_name(file)
            if not path.is_file() or (name and f"def {name}(" not in path.read_text()):
                missing.append(f"{number}: {file}::{name}")

    assert missing == []
