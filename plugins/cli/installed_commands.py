"""Commands that other distributions bring: frontends that a person or an editor starts, as `mlxd NAME`."""

from __future__ import annotations

import click

from plugins import installed
from transports.errors import PluginError
from transports.registrations import FRONTENDS, OURS, registrations


def find_command(name: str) -> click.Command | None:
    """The command that is registered as the frontend *name*; None if no other distribution has one.

    Raises:
        PluginError: It cannot be imported, or the kernel starts it.
    """
    others = {one.name for one in registrations(FRONTENDS) if one.distribution != OURS and not one.error}
    if name not in others:
        return None
    try:
        found = installed.load(name)
    except Exception as e:
        raise installed.failure(name, e) from e
    if not installed.is_command(found):
        raise PluginError(f"frontend {name!r}: `mlxd serve` starts it; add it to kernel.frontends")
    return found
