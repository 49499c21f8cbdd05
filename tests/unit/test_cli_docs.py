"""docs/cli.md has a section for each command, and in it each of its flags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from plugins.cli.commands import cli

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^#+ (mlxd .*?)\n(.*?)(?=^#|\Z)", DOCS, re.MULTILINE | re.DOTALL))


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found
            yield from commands(found, f"{name} {sub}")


COMMANDS = dict(commands(cli, "mlxd"))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "mlxd"])
def test_a_command_has_its_section_with_its_flags(name: str) -> None:
    flags = {option for param in COMMANDS[name].params for option in param.opts if option.startswith("--")}

    documented = set(re.findall(r"`(--[a-z-]+)`", SECTIONS.get(name, "")))

    assert flags == documented


def test_no_section_is_left_of_a_command_that_is_gone() -> None:
    assert set(SECTIONS) == set(COMMANDS) - {"mlxd"}


def test_every_command_has_a_help_line() -> None:
    assert [name for name, command in COMMANDS.items() if not command.help] == []
