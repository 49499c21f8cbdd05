"""Which worker kinds there are and what loads a model of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from transports.errors import PluginError
from workers.engine import Engine, OnProgress

# Model folder, the kind's settings section, progress -> a loaded engine. Raises MlxdError.
Loader: TypeAlias = Callable[[Path, Mapping[str, object], OnProgress], Engine]

# Imported by name, so that one kind's libraries are not needed for another.
LOADERS = {
    "echo": "workers.echo:load",
    "text": "workers.text.loading:load",
    "vision": "workers.vision.loading:load",
}


def loader(kind: str) -> Loader:
    """The function that loads models of *kind*.

    Raises:
        PluginError: No such kind.
    """
    if kind not in LOADERS:
        raise PluginError(f"worker kind: expected one of {', '.join(LOADERS)}, got {kind!r}")
    module, _, name = LOADERS[kind].partition(":")
    function: Loader = getattr(import_module(module), name)
    return function
