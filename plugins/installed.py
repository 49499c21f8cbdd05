"""What is registered as a frontend, imported by its name."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, TypeGuard

from transports.errors import PluginError
from transports.registrations import FRONTENDS, registrations

if TYPE_CHECKING:
    import click


def load(kind: str) -> object:
    """Import what is registered as the frontend *kind*.

    Raises:
        PluginError: There is none.
        Exception: Whatever its package raises.
    """
    found = {one.name: one.value for one in registrations(FRONTENDS) if not one.error}
    if kind not in found:
        raise PluginError(f"frontend {kind!r}: not installed; there are: {', '.join(sorted(found))}")
    module, _, name = found[kind].partition(":")
    registered: object = getattr(import_module(module), name)
    return registered


def failure(kind: str, error: Exception) -> PluginError:
    """What a stranger's package raised, for people: trying again would raise it again."""
    return PluginError(f"frontend {kind!r}: {type(error).__name__}: {error}")


def is_command(found: object) -> TypeGuard[click.Command]:
    """Whether a person or an editor starts it, as `mlxd NAME`, and not the kernel."""
    # Who made a command has imported click; the kernel's frontends start without.
    return "click" in sys.modules and isinstance(found, sys.modules["click"].Command)
