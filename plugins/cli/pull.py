"""`mlxd pull`: bring a model from the Hugging Face hub."""

from __future__ import annotations

import click

from plugins.cli import session
from plugins.cli.output import size
from plugins.cli.progress import ProgressView
from plugins.cli.sanitize import clean_line
from transports.reports import Admin, ModelsReply


@click.command()
@click.argument("repo")
@click.option("--revision", default="", metavar="REVISION", help="A branch, tag or commit. Default: main.")
def pull(repo: str, revision: str) -> None:
    """Bring the model REPO (OWNER/NAME) from the Hugging Face hub, into its cache on this machine.

    Only what is needed to serve it; every file's checksum is compared. Ctrl-C ends it, and the same command
    goes on where it ended.
    """
    reply = session.run(_pull(repo, revision))
    for model in reply.models:
        click.echo(f"{clean_line(model.name)} is there ({size(model.size_bytes)} of weights).", err=True)
        if model.error:
            click.echo(f"It cannot be served: {clean_line(model.error)}", err=True)
    if not reply.models:
        click.echo("It is there, but another model of this name is in front of it: `mlxd models`.", err=True)


async def _pull(repo: str, revision: str) -> ModelsReply:
    with ProgressView() as view:
        async with session.any_kernel() as client:
            args = Admin(model=repo, name=revision)
            return await client.admin(
                "models.pull", args, ModelsReply, lambda progress: view.update("", progress)
            )
