"""Packages of npm that tests need, installed once into a folder that outlives the run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from transports.filelock import locked_blocking

INSTALL_TIMEOUT_S = 90


def node_modules(manifest: Path, request: pytest.FixtureRequest) -> Path:
    """The folder node_modules with what a package.json pins; skips the test where that cannot be had."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        pytest.skip("needs node and npm")
    wanted = manifest.read_bytes()
    cache = Path(os.environ.get("MLXD_TEST_CACHE") or request.config.cache.mkdir("mlxd"))
    folder = cache / f"node-{hashlib.sha256(wanted).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    # pytest's processes share the folder.
    with locked_blocking(folder, timeout_s=INSTALL_TIMEOUT_S):
        if not (folder / "installed").exists():
            # Half of a package is taken for a whole one.
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            (folder / "package.json").write_bytes(wanted)
            # No script of a package is run: those with binaries bring them along.
            command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
            try:
                subprocess.run(
                    command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
                pytest.skip(f"npm cannot install {', '.join(packages(manifest))}: {e}")
            (folder / "installed").touch()
    return folder / "node_modules"


def packages(manifest: Path) -> list[str]:
    """What a package.json asks for."""
    return list(json.loads(manifest.read_text())["dependencies"])
