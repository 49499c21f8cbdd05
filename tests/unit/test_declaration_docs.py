"""docs/writing-a-worker.md names every field of a declaration with its default, and its example is right."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from kernel.declaration import Declaration, Rule
from plugins.cli.plugin_template import PluginRole, render
from transports.registrations import FRONTENDS, WORKERS, registrations

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
    example = DOC.partition("# A kind with weights and a library.\n")[2].partition("```")[0]

    assert msgspec.convert(tomllib.loads(example), Declaration).requirements == "requirements.lock"


@pytest.mark.parametrize("role", ["frontend", "worker"])
def test_the_complete_packages_are_what_plugins_new_writes(role: PluginRole) -> None:
    doc = (DOCS / f"writing-a-{role}.md").read_text()

    for path, text in render("parrot", role).items():
        assert path.endswith("__init__.py") or f"`mlxd-parrot/{path}`:" in doc
        assert path.endswith("__init__.py") or f"\n{text}```\n" in doc


@pytest.mark.parametrize("group", [FRONTENDS, WORKERS])
def test_every_entry_point_group_is_documented(group: str) -> None:
    assert any(f'entry-points."{group}"' in path.read_text() for path in DOCS.glob("writing-*.md"))
    assert registrations(group)


def test_there_are_no_groups_but_these() -> None:
    groups = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["entry-points"]

    assert set(groups) == {FRONTENDS, WORKERS}
