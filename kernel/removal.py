"""Removes models from the disk: only below MLXD_HOME/models and in the hub cache, and never behind a link."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from pathlib import Path

from kernel.catalog import CatalogEntry
from kernel.hub_cache import HubModel, hub_models
from kernel.pull import lock_path
from transports.errors import NotFound, RequestError
from transports.filelock import locked

# What is on its way out; the catalog looks at no name with a dot in front.
REMOVED = ".removed-"
# For a pull of the same model.
LOCK_TIMEOUT_S = 1.0


async def remove(entry: CatalogEntry, models: Path, hub: Path) -> int:
    """Remove a model of the catalog that nobody has loaded; how many bytes are free again.

    Args:
        entry: The model.
        models: MLXD_HOME/models.
        hub: The hub cache.

    Raises:
        RequestError: It is not mlxd's to remove, or is being pulled.
        NotFound: It is gone already.
    """
    if entry.source == "hub":
        return await _remove_from_hub(entry.name, hub)
    if entry.source == "demo" and entry.demo is None:
        raise RequestError(f"{entry.name}: part of mlxd, and cannot be removed")
    if not entry.is_present:
        raise NotFound(f"{entry.name}: not on this disk")
    return await asyncio.to_thread(_remove_folder, Path(entry.path), models)


async def _remove_from_hub(name: str, hub: Path) -> int:
    model = await asyncio.to_thread(_find, name, hub)
    if model is None:
        raise NotFound(f"{name}: gone from {hub} already")
    try:
        async with locked(lock_path(model.repository), timeout_s=LOCK_TIMEOUT_S):
            return await asyncio.to_thread(_remove_revision, model)
    except TimeoutError:
        raise RequestError(f"{name}: it is being pulled; end that first") from None


def _find(name: str, hub: Path) -> HubModel | None:
    return next((model for model in hub_models(hub) if model.name == name), None)


def _remove_folder(path: Path, models: Path) -> int:
    if not path.is_relative_to(models) or path == models:
        raise RequestError(f"{path}: a folder of yours (models.paths); mlxd removes only what is in {models}")
    for parent in path.parents:
        if parent == models:
            break
        if parent.is_symlink():
            raise RequestError(f"{parent}: a link that leads elsewhere; remove it yourself")
    freed_bytes = _discard(path, models)
    # An owner without models.
    if path.parent != models:
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    return freed_bytes


def _remove_revision(model: HubModel) -> int:
    """Remove one revision, and with it the blobs that no other uses; the last takes its repository along."""
    repository, snapshots = model.repository, model.repository / "snapshots"
    for folder in (snapshots, repository / "blobs", repository / "refs"):
        if folder.is_symlink():
            raise RequestError(f"{folder}: a link that leads elsewhere; remove it yourself")
    others = [path for path in snapshots.glob("[!.]*") if path != model.snapshot]
    if repository.is_symlink() or not others or model.snapshot is None:
        return _discard(repository, repository.parent)
    unused = _blobs_of(model.snapshot) - {name for other in others for name in _blobs_of(other)}
    for ref in model.refs:
        (repository / "refs" / ref).unlink(missing_ok=True)
    freed_bytes = _discard(model.snapshot, snapshots)
    for name in unused:
        freed_bytes += _discard(repository / "blobs" / name, snapshots)
    return freed_bytes


def _blobs_of(snapshot: Path) -> set[str]:
    """The names of the blobs that the links of a snapshot lead to."""
    names = set()
    for folder, _, files in os.walk(snapshot):
        for file in files:
            path = Path(folder, file)
            if path.is_symlink() and (target := path.readlink()).parent.name == "blobs":
                names.add(target.name)
    return names


def _discard(path: Path, room: Path) -> int:
    """Take *path* away in one step, then its content; of a link only the link. How many bytes that frees.

    Args:
        path: A file, a folder or a link; may be gone already.
        room: A folder of the same disk, where it is put for that.
    """
    gone = room / f"{REMOVED}{secrets.token_hex(4)}"
    try:
        path.rename(gone)
    except FileNotFoundError:
        return 0
    if gone.is_symlink():
        gone.unlink()
        return 0
    if gone.is_file():
        freed_bytes = gone.lstat().st_size
        gone.unlink()
        return freed_bytes
    freed_bytes = sum(_size(Path(folder, file)) for folder, _, files in os.walk(gone) for file in files)
    # The sweep of another kernel that starts may be at it too.
    shutil.rmtree(gone, ignore_errors=True)
    return freed_bytes


def _size(path: Path) -> int:
    return 0 if path.is_symlink() else path.lstat().st_size
