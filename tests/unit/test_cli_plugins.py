"""What `mlxd plugins` says of frontends, and which of them are commands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest
from plugin_packages import install_frontend

from plugins.cli.commands import cli
from plugins.cli.installed_commands import find_command
from plugins.cli.plugins import with_processes
from transports.errors import PluginError
from transports.reports import FrontendInfo, PluginInfo


def plugin(name: str, state: str = "installed", role: str = "frontend") -> PluginInfo:
    return PluginInfo(name=name, role=role, distribution="d", version="1", state=state)  # type: ignore[arg-type]


def process(kind: str, state: str, error: str = "", supervised: bool = True) -> FrontendInfo:
    return FrontendInfo(name=kind, pid=1, kind=kind, supervised=supervised, state=state, error=error)


def test_a_frontend_has_the_state_of_its_process() -> None:
    found = (
        plugin("http"),
        plugin("door"),
        plugin("off"),
        plugin("bad", "broken"),
        plugin("text", role="worker"),
    )
    running = (process("http", "ready"), process("door", "failed", "no port"))

    shown = with_processes(found, ("http", "door", "bad", "text"), running)
    assert [(one.name, one.state, one.error) for one in shown] == [
        ("text", "missing", ""),
        ("http", "ready", ""),
        ("door", "failed", "no port"),
        ("off", "installed", ""),
        ("bad", "broken", ""),
        ("text", "installed", ""),
    ]


def test_without_a_server_it_is_enabled_or_not() -> None:
    shown = with_processes((plugin("http"), plugin("door")), ("http",), ())

    assert [one.state for one in shown] == ["enabled", "installed"]


def test_one_that_a_person_started_is_attached() -> None:
    """It says itself what it is: that tells nothing of one that the kernel starts."""
    running = (process("stdio", "ready", supervised=False), process("http", "ready", supervised=False))
    shown = with_processes((plugin("cli"), plugin("stdio"), plugin("http")), ("http",), running)

    assert [one.state for one in shown] == ["installed", "attached", "enabled"]


def test_a_command_of_others_is_found_when_we_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "import click\n@click.command()\ndef build(): 'Theirs.'\n"
    for name in ("theirs", "run"):
        install_frontend(tmp_path, name, command)
    monkeypatch.syspath_prepend(tmp_path)
    context = click.Context(cli)

    theirs, run, none = (cli.get_command(context, name) for name in ("theirs", "run", "cli"))
    assert (theirs and theirs.help, run and run.help != "Theirs.", none) == ("Theirs.", True, None)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class build: ...", "frontend 'door': `mlxd serve` starts it; add it to kernel.frontends"),
        ("1 / 0", "frontend 'door': ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_command_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    install_frontend(tmp_path, "door", code + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    # The other case's is another file.
    monkeypatch.delitem(sys.modules, "mlxd_door", raising=False)
    monkeypatch.delitem(sys.modules, "mlxd_door.frontend", raising=False)

    with pytest.raises(PluginError, match=re.escape(said)):
        find_command("door")
