"""What --help and /help look like in a terminal of 80 columns."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from plugins.cli.commands import cli
from plugins.cli.conversation import HELP

GROUPS = ([], ["models"], ["envs"], ["config"])


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_each_command_is_told_in_a_whole_sentence(group: list[str]) -> None:
    help_ = CliRunner().invoke(cli, [*group, "--help"], terminal_width=80).output

    commands = help_.partition("Commands:\n")[2].splitlines()
    assert commands
    assert [line for line in commands if not line.endswith(".") or line.endswith("...")] == []


def test_the_help_of_a_conversation_fits_a_terminal() -> None:
    assert [line for line in click.unstyle(HELP).splitlines() if len(line) >= 80] == []
