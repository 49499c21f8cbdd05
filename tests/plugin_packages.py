"""Small packages as strangers install them: files and metadata, in a folder for sys.path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# A worker kind that answers as the echo engine does.
DECLARATION = """
tasks = ["chat", "completion"]
weights = false
[[serves]]
model_types = ["parrot"]
"""
ENGINE = "from workers.echo import load\n"


def install(
    site: Path,
    name: str,
    files: Mapping[str, str],
    groups: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> Path:
    """Put a distribution into *site*, with *groups* of entry points; returns *site*."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    points = "".join(
        f"[{group}]\n" + "".join(f"{point} = {value}\n" for point, value in found.items())
        for group, found in groups.items()
    )
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/entry_points.txt": points,
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    for path, text in content.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    return site


def install_worker(site: Path, name: str, **changed: str) -> Path:
    """A distribution `mlxd-NAME` with a worker kind NAME; *changed* replaces declaration or engine."""
    files = {
        f"mlxd_{name}/__init__.py": "",
        f"mlxd_{name}/engine.py": changed.get("engine", ENGINE),
        f"mlxd_{name}/{name}.toml": changed.get("declaration", DECLARATION),
    }
    return install(site, f"mlxd-{name}", files, {"mlxd.workers": {name: f"mlxd_{name}.engine:load"}})


def install_frontend(site: Path, name: str, code: str) -> Path:
    """A distribution `mlxd-NAME` with a frontend NAME: the class or function `build` of *code*."""
    files = {f"mlxd_{name}/__init__.py": "", f"mlxd_{name}/frontend.py": code}
    return install(site, f"mlxd-{name}", files, {"mlxd.frontends": {name: f"mlxd_{name}.frontend:build"}})
