"""`mlxd models`: what the catalog knows."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

from plugins.cli import session
from plugins.cli.completion import complete_model
from plugins.cli.model_report import CHANGED, modalities, print_report
from plugins.cli.output import print_json, print_table, size
from plugins.cli.progress import ProgressView
from plugins.cli.sanitize import clean_line
from transports.errors import ModelNotFound
from transports.reports import Admin, ModelInfo, ModelReport, ModelsReply, RemovedReply

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@_json
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List, show, import and remove models. Without a command: list."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models, as_json=as_json)


@models.command("list")
@_json
def list_models(as_json: bool) -> None:
    """List the models that can be served."""
    found = session.run(_fetch())
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No model was found; `mlxd pull OWNER/NAME` brings one.", err=True)
    else:
        print_models(found)


def print_models(found: tuple[ModelInfo, ...]) -> None:
    """Print a table, and below it a line for each model of which more is to be said."""
    print_table(
        ("MODEL", "KIND", "TAKES", "STATE", "SIZE", "CONTEXT", "SOURCE"),
        [_row(model) for model in found],
        folded="MODEL",
    )
    notes = [f"{clean_line(model.name)}: {note}" for model in found if (note := _note(model))]
    if notes:
        click.echo("\n" + "\n".join(notes))


@models.command()
@click.argument("name", shell_complete=complete_model)
@_json
def show(name: str, as_json: bool) -> None:
    """Show all that is known of one model."""
    report, aliases = session.run(_fetch_report(name))
    if as_json:
        print_json(report)
    else:
        print_report(report, aliases)


@models.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default="", metavar="NAME", help="What it shall be called. Default: from the file.")
def import_model(file: Path, name: str) -> None:
    """Convert a GGUF FILE to a model folder.

    FILE is a model of the llama or qwen family. The folder is made in MLXD_HOME; FILE is not used after that.
    """
    reply = session.run(_import(file.absolute(), name))
    for model in reply.models:
        click.echo(f"Imported {model.name} ({size(model.size_bytes)}).")


@models.command("rm")
@click.argument("name", shell_complete=complete_model)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also while it is in memory: it is unloaded first.")
def remove(name: str, yes: bool, force: bool) -> None:
    """Remove a model from the disk.

    Only models in mlxd's folder and in the Hugging Face cache, and of the latter only what no other revision
    uses.
    """
    model = choose(session.run(_fetch()), name)
    about = f"{clean_line(model.name)} ({size(model.size_bytes)}, {clean_line(model.path)})"
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask on; --yes removes it")
        click.confirm(f"Remove {about}?", abort=True, err=True)
    reply = session.run(_remove(model.name, force=force))
    click.echo(f"Removed {clean_line(model.name)}: {size(reply.freed_bytes)} are free again.", err=True)
    if model.source == "demo":
        click.echo("It is fetched again when somebody asks for it.", err=True)


def choose(known: tuple[ModelInfo, ...], name: str) -> ModelInfo:
    """The model of that name.

    Raises:
        ModelNotFound: Names what is near.
    """
    for model in known:
        if model.name == name:
            return model
    near = difflib.get_close_matches(name, [model.name for model in known], cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "`mlxd models` lists what there is"
    raise ModelNotFound(f"{name}: no such model; {hint}")


async def _fetch() -> tuple[ModelInfo, ...]:
    async with session.any_kernel() as client:
        return await client.models()


async def _fetch_report(name: str) -> tuple[ModelReport, list[str]]:
    """What is known of a model, and its other names."""
    async with session.any_kernel() as client:
        known = await client.models()
        model = choose(known, name)
        report = await client.admin("models.show", Admin(model=model.name), ModelReport)
    return report, [other.name for other in known if other.alias_of == report.model.name]


async def _import(file: Path, name: str) -> ModelsReply:
    with ProgressView() as view:
        async with session.any_kernel() as client:
            args = Admin(name=str(file), model=name)
            return await client.admin(
                "models.import", args, ModelsReply, lambda progress: view.update(file.name, progress)
            )


async def _remove(name: str, *, force: bool) -> RemovedReply:
    async with session.any_kernel() as client:
        return await client.admin("models.rm", Admin(model=name, force=force), RemovedReply)


def _note(model: ModelInfo) -> str:
    """What its row does not say: what it stands for, why it cannot be served, that its files changed."""
    if model.alias_of:
        return f"alias of {clean_line(model.alias_of)}"
    if model.error:
        return clean_line(model.error).removeprefix(f"{clean_line(model.name)}: ")
    return CHANGED if model.is_changed else ""


def _row(model: ModelInfo) -> tuple[str, ...]:
    return (
        model.name,
        model.kind or "-",
        modalities(model) or "-",
        model.state,
        size(model.size_bytes) if model.size_bytes else "-",
        str(model.context_length or "-"),
        "alias" if model.alias_of else model.source,
    )
