"""`mlxd config`: the settings in force and where each comes from."""

from __future__ import annotations

import json

import click

from plugins.cli.output import print_json, print_table
from transports.config import config_path, resolve


@click.group()
def config() -> None:
    """Show the settings and where they come from."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_json: bool) -> None:
    """Print each setting, its value and its source.

    The source is the default, the settings file, or a variable.
    """
    entries = resolve().entries
    if as_json:
        print_json({entry.key: {"value": entry.value, "source": entry.source} for entry in entries})
        return
    print_table(
        ("SETTING", "VALUE", "SOURCE"),
        [(entry.key, json.dumps(entry.value), entry.source) for entry in entries],
        folded="SOURCE",
    )


@config.command()
def path() -> None:
    """Print the path of the settings file; it need not exist."""
    click.echo(config_path())
