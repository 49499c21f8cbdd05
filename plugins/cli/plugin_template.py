"""The package that `mlxd plugins new` writes: pyproject, code, test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Literal, TypeAlias

from transports.errors import ConfigError
from transports.registrations import name_error

PluginRole: TypeAlias = Literal["frontend", "worker"]

TEMPLATES = Path(__file__).parent / "templates"
# Path in the new folder -> template in the folder of its role.
FILES: Mapping[PluginRole, Mapping[str, str]] = {
    "frontend": {
        "pyproject.toml": "pyproject.toml",
        "$package/__init__.py": "__init__.py",
        "$package/frontend.py": "frontend.py",
        "tests/test_frontend.py": "test.py",
    },
    "worker": {
        "pyproject.toml": "pyproject.toml",
        "$package/__init__.py": "__init__.py",
        "$package/$name.toml": "declaration.toml",
        "$package/engine.py": "engine.py",
        "tests/test_engine.py": "test.py",
    },
}


def render(name: str, role: PluginRole) -> dict[str, str]:
    """The files of a new plugin by their paths."""
    words = {"name": name, "package": f"mlxd_{name.replace('-', '_')}"}
    return {
        Template(path).substitute(words): Template(
            (TEMPLATES / role / f"{template}.template").read_text(encoding="utf-8")
        ).substitute(words)
        for path, template in FILES[role].items()
    }


def write(name: str, role: PluginRole, parent: Path) -> Path:
    """Write a new plugin into *parent*; its folder.

    Raises:
        ConfigError: The name cannot be one, or the folder is there.
    """
    if error := name_error(name):
        raise ConfigError(error)
    folder = parent / f"mlxd-{name}"
    try:
        folder.mkdir(parents=True)
        for path, text in render(name, role).items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{folder}: is there already") from None
    except OSError as e:
        raise ConfigError(f"{folder}: {e.strerror}") from None
    return folder
