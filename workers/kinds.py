"""The function that loads models of a worker kind, by the name that its distribution registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from transports.errors import PluginError
from workers.engine import Engine, OnProgress

# Model folder, the kind's settings, progress -> a loaded engine. Raises MlxdError.
Loader: TypeAlias = Callable[[Path, Mapping[str, object], OnProgress], Engine]


def loader(name: str) -> Loader:
    """What "module:function" stands for; imports the kind's libraries.

    Raises:
        PluginError: It is not there.
    """
    module, _, function = name.partition(":")
    try:
        found: Loader = getattr(import_module(module), function)
    except (ImportError, AttributeError) as e:
        raise PluginError(f"loader {name}: {e}") from e
    if not callable(found):
        raise PluginError(f"loader {name}: expected a function, got {type(found).__name__}")
    return found
