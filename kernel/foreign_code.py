"""Finds what in a model folder asks for its own code to be run. mlxd runs none, and says so before it loads.

Libraries would: mlx-lm and mlx-vlm what `model_file` names, transformers what `auto_map` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# The files in which libraries look for those keys.
CONFIG_FILES = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
)


def check_names(names: Iterable[str]) -> None:
    """Refuse Python beside the weights.

    Raises:
        ValueError: Which file it is.
    """
    for name in sorted(names):
        if name.endswith((".py", ".pyc", ".so")):
            raise ValueError(f"{name[:200]}: code beside the weights, which mlxd never runs: remove it")


def check_config(file: str, content: Mapping[str, Any]) -> None:
    """Refuse keys that name code.

    The `auto_map` that is left in config.json where the library has the model itself is harmless, as long as
    it names a module that could only be in the folder, and is not.

    Raises:
        ValueError: File and key.
    """
    try:
        found = list(_keys(content))
    except RecursionError:
        raise ValueError(f"{file}: nested too deeply") from None
    for path, value in found:
        key = path.rpartition(".")[2]
        if key == "model_file":
            raise ValueError(f"{file}: {path} asks to run code from the model's folder, which mlxd does not")
        if key == "auto_map" and (file == "tokenizer_config.json" or not all(map(_is_module, _texts(value)))):
            raise ValueError(f"{file}: {path} asks to run code, which mlxd does not")


def _keys(content: object, path: str = "") -> Iterator[tuple[str, object]]:
    """All keys however deep, with their values."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            inner = f"{path}.{key}" if path else str(key)
            yield inner, value
            yield from _keys(value, inner)
    elif isinstance(content, list):
        for value in content:
            yield from _keys(value, path)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _is_module(name: str) -> bool:
    """Whether this is "module.Class" or "repository--module.Class"; else it leads out of the folder."""
    return all(part.isidentifier() for part in name.rpartition("--")[2].split("."))
