"""`mlxd plugins`: the frontends and worker kinds that are installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from plugins.cli import session
from plugins.cli.output import print_json, print_table
from plugins.cli.plugin_template import PluginRole, write
from plugins.cli.sanitize import clean_line
from transports.config import resolve
from transports.reports import Admin, FrontendInfo, PluginInfo, PluginsReply

ROLES: Mapping[PluginRole, str] = {"frontend": "frontend", "worker": "worker kind"}

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@_json
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List frontends and worker kinds; write new ones. Without a command: list."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_plugins, as_json=as_json)


@plugins.command("list")
@_json
def list_plugins(as_json: bool) -> None:
    """List frontends and worker kinds, who brought them, and whether they can be used."""
    found = session.run(_ask())
    if as_json:
        print_json(found)
        return
    print_table(
        ("NAME", "ROLE", "DISTRIBUTION", "VERSION", "STATE"),
        [(one.name, one.role, one.distribution or "-", one.version or "-", one.state) for one in found],
        folded="DISTRIBUTION",
    )
    for one in found:
        if one.error:
            click.echo(f"\n{clean_line(one.name)}: {clean_line(one.error)}")


@plugins.command()
@click.argument("name")
@click.option("--frontend", "role", flag_value="frontend", help="A frontend.")
@click.option("--worker", "role", flag_value="worker", default="worker", help="A worker kind (the default).")
def new(name: str, role: PluginRole) -> None:
    """Write a package with a new plugin NAME: the folder mlxd-NAME, with code and a test."""
    folder = write(name, role, Path.cwd())
    click.echo(f"{folder} has a package with the {ROLES[role]} {name}.", err=True)
    click.echo(f"Install it where mlxd is installed: `pip install -e {folder.name}`", err=True)


async def _ask() -> tuple[PluginInfo, ...]:
    enabled = resolve().settings.kernel.frontends
    async with session.any_kernel() as client:
        found = (await client.admin("plugins.list", Admin(), PluginsReply)).plugins
        running = (await client.status()).frontends
    return with_processes(found, enabled, running)


def with_processes(
    found: tuple[PluginInfo, ...], enabled: tuple[str, ...], running: tuple[FrontendInfo, ...]
) -> tuple[PluginInfo, ...]:
    """*found* with the states of the frontends' processes, and those that are enabled and not installed.

    Args:
        found: What is installed.
        enabled: `kernel.frontends`.
        running: The kernel's frontends.
    """
    processes = {one.kind: one for one in running if one.supervised}
    attached = {one.kind for one in running if not one.supervised}
    known = {one.name for one in found if one.role == "frontend"}
    missing = tuple(
        PluginInfo(name=name, role="frontend", distribution="", version="", state="missing")
        for name in dict.fromkeys((*enabled, *processes))
        if name not in known
    )
    return tuple(_with_process(one, enabled, processes.get(one.name), attached) for one in (*missing, *found))


def _with_process(
    one: PluginInfo, enabled: tuple[str, ...], process: FrontendInfo | None, attached: set[str]
) -> PluginInfo:
    if one.role != "frontend" or one.state == "broken":
        return one
    if process is not None:
        return msgspec.structs.replace(one, state=process.state, error=process.error)
    if one.state == "installed" and one.name in enabled:
        return msgspec.structs.replace(one, state="enabled")
    if one.state == "installed" and one.name in attached:
        return msgspec.structs.replace(one, state="attached")
    return one
