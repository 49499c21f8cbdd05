"""The tables of faults and attacks name tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Letter of the rows -> how many there are.
FAULTS = {"": 50}
ATTACKS = {"H": 16, "U": 12, "G": 13, "R": 12, "J": 7, "L": 6}
TABLES = {"process": FAULTS, "contract": ATTACKS}


def rows(table: str) -> list[list[str]]:
    text = (ROOT / "tests" / table / "README.md").read_text()
    lines = [line for line in text.splitlines() if re.match(r"\| [A-Z]?\d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("table", TABLES)
def test_every_fault_has_a_row(table: str) -> None:
    expected = [f"{kind}{n}" for kind, num in TABLES[table].items() for n in range(1, num + 1)]

    assert [row[0] for row in rows(table)] == expected


@pytest.mark.parametrize("table", TABLES)
def test_the_tests_that_it_names_are_there(table: str) -> None:
    missing = []
    for row, *_, tests in rows(table):
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", tests)
        assert named, f"row {row} names no test"
        for file, name in named:
            path = ROOT / (file if "/" in file else f"tests/{table}/{file}")
            if not path.is_file() or (name and f"def {name}(" not in path.read_text()):
                missing.append(f"{row}: {file}::{name}")

    assert missing == []
