"""`mlxd completion`: the completion script of a shell, as click writes it."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


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
