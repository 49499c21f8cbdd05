"""http, cli and stdio reach the kernel through the door that strangers have, and through nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import click

from plugins.cli.commands import Commands, cli
from plugins.installed import is_command, load
from transports.registrations import FRONTENDS, OURS, registrations

ROOT = Path(__file__).parents[2]
# What speaks or knows where the kernel listens -> the only module of plugins/ that imports it.
WAYS = {
    "zmq": "plugins/client.py",
    "transports.sockets": "plugins/client.py",
    "transports.rundir": "plugins/launch.py",
}


def imports() -> set[tuple[str, str]]:
    """(what is imported, by which file) for all of plugins/, imports within functions too."""
    found = set()
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = {one.name for one in names}
                case ast.ImportFrom(module=str(module), names=names):
                    modules = {module, *(f"{module}.{one.name}" for one in names)}
                case _:
                    continue
            found |= {(module, path.relative_to(ROOT).as_posix()) for module in modules}
    return found


def test_only_the_client_speaks_with_the_kernel() -> None:
    assert set(WAYS.items()) == {(module, path) for module, path in imports() if module in WAYS}


def test_nothing_of_the_kernel_and_workers_is_imported() -> None:
    assert set() == {module for module, _ in imports() if module.partition(".")[0] in ("kernel", "workers")}


def test_all_three_are_registered_as_those_of_strangers_are() -> None:
    ours = [one.name for one in registrations(FRONTENDS) if one.distribution == OURS]

    assert {name: is_command(load(name)) for name in ours} == {"cli": True, "http": False, "stdio": True}


def test_what_is_registered_is_what_runs() -> None:
    """`mlxd stdio` is found by the table of commands: an editor does not wait for metadata to be read."""
    assert load("stdio") is Commands(name="cli").get_command(click.Context(cli), "stdio")
    assert load("cli") is cli
