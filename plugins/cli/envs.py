"""`mlxd envs`: the virtual environments of the worker kinds."""

from __future__ import annotations

import click

from plugins.cli import session
from plugins.cli.output import print_json, print_table, size
from plugins.cli.progress import ProgressView
from transports.reports import Admin, EnvironmentInfo, EnvironmentsReply

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@_json
@click.pass_context
def envs(ctx: click.Context, as_json: bool) -> None:
    """List, build and remove the workers' environments. Without a command: list."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_environments, as_json=as_json)


@envs.command("list")
@_json
def list_environments(as_json: bool) -> None:
    """List the environments and whether they can be used."""
    _print(session.run(_admin("envs.list")), as_json=as_json)


@envs.command()
@click.argument("kind", required=False, default="")
@_json
def sync(kind: str, as_json: bool) -> None:
    """Build what is missing and repair what is broken.

    The environment of KIND, or without KIND all.
    """
    _print(session.run(_admin("envs.sync", kind)), as_json=as_json)


@envs.command()
@click.argument("kind")
@_json
def rollback(kind: str, as_json: bool) -> None:
    """Have KIND use the environment that it had before.

    If that passes its test. Models in memory keep theirs until they are loaded again.
    """
    _print(session.run(_admin("envs.rollback", kind)), as_json=as_json)


@envs.command()
@click.argument("name")
@_json
def rm(name: str, as_json: bool) -> None:
    """Remove the environment NAME, as `mlxd envs list` names it."""
    _print(session.run(_admin("envs.rm", name)), as_json=as_json)


async def _admin(operation: str, name: str = "") -> tuple[EnvironmentInfo, ...]:
    with ProgressView() as view:
        async with session.any_kernel() as client:
            reply = await client.admin(
                operation,
                Admin(name=name),
                EnvironmentsReply,
                lambda progress: view.update("environments", progress),
            )
            return reply.environments


def _print(environments: tuple[EnvironmentInfo, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(environments)
        return
    print_table(
        ("KIND", "STATE", "NAME", "SIZE", "PATH"),
        [
            (e.kind, e.state, e.name, size(e.size_bytes) if e.size_bytes else "-", e.path)
            for e in environments
        ],
        folded="PATH",
    )
    for environment in environments:
        if environment.error:
            click.echo(f"\n{environment.kind}: {environment.error}")
