"""Wheels of one small file, and lock files for them: real builds by uv without a registry."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> str:
    """Write NAME-VERSION-py3-none-any.whl; returns its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inner, data in {**content, f"{info}/RECORD": record.encode()}.items():
            wheel.writestr(inner, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_workers(folder: Path, main: str) -> Path:
    """A stand-in for the `workers` package whose __main__ is *main*, in *folder*."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(main)
    return folder
