"""What `mlxd plugins new` writes, installed and served: its own tests, run as its author would."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from cli_harness import mlxd
from plugin_packages import install

from plugins.cli.plugin_template import PluginRole, write
from transports.errors import ConfigError

TIMEOUT_S = 60.0


def installed(project: Path, site: Path) -> Path:
    """Put a package into *site* as an installer does, by its own metadata; no builder is needed for that."""
    described = tomllib.loads((project / "pyproject.toml").read_text())
    for package in described["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(project / package, site / package)
    about = described["project"]
    return install(site, about["name"], {}, about["entry-points"], about["version"])


@pytest.mark.parametrize("role", ["worker", "frontend"])
async def test_a_new_plugin_passes_its_test_when_it_is_installed(tmp_path: Path, role: PluginRole) -> None:
    project = write("my-door", role, tmp_path)
    site = installed(project, tmp_path / "site")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"),
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(site), "MLXD_HOME": str(tmp_path / "home")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TIMEOUT_S):
        out, _ = await process.communicate()

    assert process.returncode == 0, out.decode()


def test_the_command_writes_it_and_overwrites_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = mlxd(home, "plugins", "new", "parrot", "--frontend")
    assert (tmp_path / "mlxd-parrot/mlxd_parrot/frontend.py").exists()
    assert "pip install -e mlxd-parrot" in made.stderr

    again = mlxd(home, "plugins", "new", "parrot")
    assert (again.returncode, "mlxd-parrot: is there already" in again.stderr) == (2, True)


@pytest.mark.parametrize("name", ["", "../x", "A", "kernel", "http", "x" * 33])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name: "):
        write(name, "worker", tmp_path)
    assert list(tmp_path.iterdir()) == []
