"""The flags --priority and --queue-timeout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from plugins.submit_terms import PRIORITIES, parse_timeout_s

F = TypeVar("F", bound=Callable[..., object])


def queue_flags(command: F) -> F:
    """Give a click command --priority (None when it is not given) and --queue-timeout."""
    for option in (
        click.option(
            "--queue-timeout",
            "queue_timeout_s",
            metavar="SECONDS",
            callback=_check_timeout,
            help="Fail after waiting for so long. Default: kernel.max_queued_s for a slot.",
        ),
        click.option(
            "--priority",
            type=click.Choice(list(PRIORITIES)),
            help="Which requests go first. Default: normal; low for a batch.",
        ),
    ):
        command = option(command)
    return command


def _check_timeout(ctx: click.Context, param: click.Parameter, text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        return parse_timeout_s(text)
    except ValueError as e:
        raise click.BadParameter(f"{e}, got {text!r}", ctx, param) from None
