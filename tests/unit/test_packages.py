"""A package of another distribution in the place of ours is found before it is run."""

from __future__ import annotations

import base64
import hashlib
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from plugins.packages import changed_packages, check_packages
from transports.errors import ConfigError


def install(folder: Path) -> PathDistribution:
    """What pip leaves of mlxd: the packages, and a record with their hashes."""
    info = folder / "mlxd-0.1.0.dist-info"
    info.mkdir()
    record = []
    for name in ("kernel", "workers"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f'"""{name}"""\n')
        digest = hashlib.sha256(f'"""{name}"""\n'.encode()).digest()
        value = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        record.append(f"{name}/__init__.py,sha256={value},10\n")
    (info / "RECORD").write_text("".join(record) + "mlxd-0.1.0.dist-info/RECORD,,\n")
    return PathDistribution(info)


def test_this_installation_is_fine() -> None:
    check_packages()


def test_what_was_installed_is_fine(tmp_path: Path) -> None:
    assert changed_packages(install(tmp_path)) == []


def test_an_overwritten_package_is_named(tmp_path: Path) -> None:
    installed = install(tmp_path)

    (tmp_path / "kernel" / "__init__.py").write_text("import os\n")

    assert changed_packages(installed) == ["kernel"]


def test_a_package_from_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "kernel", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=r"the package kernel at .* is not mlxd's; install mlxd in an env"):
        check_packages()
