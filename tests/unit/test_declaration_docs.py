"""docs/writing-a-worker.md names every field of a declaration with its default, and its example is right."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from kernel.declaration import Declaration, Rule
from transports.registrations import WORKERS, registrations

DOCS = Path(__file__).parents[2] / "docs"
DOC = (DOCS / "writing-a-worker.md").read_text()
_DEFAULTS = re.compile(r"^\| `(\w+)` \| [^|]+ \| (?:`(.+?)`|(required)) \| ", re.MULTILINE)


@pytest.mark.parametrize(("struct", "first"), [(Declaration, "tasks"), (Rule, "model_types")])
def test_every_field_of_a_declaration_has_its_row(struct: type[msgspec.Struct], first: str) -> None:
    table = DOC[DOC.index(f"| `{first}` |") :].partition("\n\n")[0]
    expected = {}
    for field in msgspec.structs.fields(struct):
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        expected[field.name] = "" if default is msgspec.NODEFAULT else json.dumps(default)

    assert expected == {name: default for name, default, _ in _DEFAULTS.findall(table)}


def test_the_example_is_a_declaration() -> None:
    example = DOC.partition("# mlxd_parrot/parrot.toml\n")[2].partition("```")[0]

    assert msgspec.convert(tomllib.loads(example), Declaration).requirements == "requirements.lock"


@pytest.mark.parametrize("group", [WORKERS])
def test_every_entry_point_group_is_documented(group: str) -> None:
    assert any(f'entry-points."{group}"' in path.read_text() for path in DOCS.glob("writing-*.md"))
    assert registrations(group)
