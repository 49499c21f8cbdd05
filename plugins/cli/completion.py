"""What a shell completes: `mlxd completion` prints its script, and names of models come from the kernel."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from plugins.cli import session
from transports.errors import MlxdError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
      bash  eval "$(mlxd completion bash)"                              in ~/.bashrc
      zsh   eval "$(mlxd completion zsh)"                               in ~/.zshrc
      fish  mlxd completion fish > ~/.config/fish/completions/mlxd.fish
    """
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    click.echo(script(ctx.find_root().command, {}, "mlxd", "_MLXD_COMPLETE").source())


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The models that the running kernel knows; none when none runs, for a shell waits for us."""
    try:
        names = session.run(_model_names())
    except (MlxdError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


async def _model_names() -> list[str]:
    async with session.running_kernel() as client:
        return [model.name for model in await client.models()] if client else []
