"""The flag --keep-alive: how long the model stays in memory afterwards."""

from __future__ import annotations

import click

from plugins.keep_alive import read_keep_alive


def _read(ctx: click.Context, param: click.Parameter, given: str | None) -> float | None:
    try:
        return None if given is None else read_keep_alive(given)
    except ValueError as e:
        raise click.BadParameter(f"expected {e}", ctx, param) from None


keep_alive_flag = click.option(
    "--keep-alive",
    metavar="TIME",
    callback=_read,
    help="How long the model stays in memory without requests: 300, 5m, 1h30m; -1 is for ever.",
)
