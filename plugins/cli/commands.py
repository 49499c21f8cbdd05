"""The command `mlxd` and the list of its commands. Imports none of them, and nothing slow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import click

from plugins.cli.lazy import Lazy, LazyGroup


class Commands(LazyGroup):
    """All commands, as the help shows them."""

    lazy: ClassVar[Mapping[str, Lazy]] = {
        "serve": Lazy("plugins.cli.serve:serve", "Serve models over HTTP until Ctrl-C."),
        "run": Lazy("plugins.cli.run:run", "Answer one prompt."),
        "chat": Lazy("plugins.cli.chat:chat", "Talk with a model in the terminal."),
        "stdio": Lazy("plugins.cli.stdio:stdio", "Speak with an editor over stdin and stdout."),
        "ps": Lazy("plugins.cli.status:ps", "List the workers: the models in memory."),
        "status": Lazy("plugins.cli.status:status", "Show what the running kernel does."),
        "models": Lazy("plugins.cli.models:models", "List, show, import and remove models."),
        "pull": Lazy("plugins.cli.pull:pull", "Bring a model from the Hugging Face hub."),
        "load": Lazy("plugins.cli.lifecycle:load", "Load a model into memory."),
        "unload": Lazy("plugins.cli.lifecycle:unload", "Free the memory of a model."),
        "pin": Lazy("plugins.cli.lifecycle:pin", "Keep a model in memory."),
        "unpin": Lazy("plugins.cli.lifecycle:unpin", "Let a model leave memory again."),
        "stop": Lazy("plugins.cli.lifecycle:stop", "End the running kernel."),
        "envs": Lazy("plugins.cli.envs:envs", "List, build and remove the workers' environments."),
        "plugins": Lazy("plugins.cli.plugins:plugins", "List frontends and worker kinds; write new ones."),
        "keys": Lazy("plugins.cli.keys:keys", "Make, list and revoke API keys."),
        "config": Lazy("plugins.cli.settings:config", "Show the settings and where they come from."),
        "completion": Lazy("plugins.cli.completion:completion", "Print the completion script of a shell."),
    }

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of ours, else what others have installed."""
        if command := super().get_command(ctx, cmd_name):
            return command
        # Imported here: looking through what is installed takes a while.
        from plugins.cli.installed_commands import find_command  # noqa: PLC0415

        return find_command(cmd_name)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        # Imported here: it costs as much as click itself.
        from transports.version import VERSION  # noqa: PLC0415

        click.echo(f"mlxd {VERSION}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Serve language and vision models on MLX."""
