"""docs/settings.md has a row for each setting, with its type, limits and default as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from transports.config import Entry, merge, setting_types
from transports.setting_types import annotations_of, describe
from transports.settings import ModelOptions

DOCS = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
ENTRIES = merge("", "", {}, {}).entries


def rows(section: str) -> list[str]:
    _, _, rest = DOCS.partition(f"\n## [{section}]\n")
    return re.findall(r"^\| `.*$", rest.partition("\n## ")[0], re.MULTILINE)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_a_setting_has_its_row(entry: Entry) -> None:
    section, key = entry.key.split(".")
    start = f"| `{key}` | {describe(setting_types()[entry.key])} | `{json.dumps(entry.value)}` | "

    found = [row for row in rows(section) if row.startswith(start)]

    assert len(found) == 1, f"docs/settings.md, [{section}]: expected one row that begins with {start!r}"


def test_no_row_is_left_of_a_setting_that_is_gone() -> None:
    documented = [
        f"{section}.{row.split('`')[1]}"
        for section in {entry.key.split(".")[0] for entry in ENTRIES}
        for row in rows(section)
    ]

    assert sorted(documented) == sorted(entry.key for entry in ENTRIES)


def test_what_may_be_said_of_one_model_has_its_rows() -> None:
    expected = {
        key: describe(msgspec.inspect.type_info(one)) for key, one in annotations_of(ModelOptions).items()
    }

    documented = {row.split("`")[1]: row.split(" | ")[1] for row in rows('models.options."NAME"')}

    assert expected == documented
