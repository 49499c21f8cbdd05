"""Which models exist: folders, the Hugging Face cache, demo models. Reads no weights and runs nothing.

A name that comes from a client is only ever compared with the names found here.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from kernel.demos import DEMOS, EMBEDDED, Demo
from kernel.isolation import package_dir
from kernel.model_folder import (
    MODALITIES,
    FolderFacts,
    Signature,
    inspect_folder,
    is_model_folder,
    list_files,
)
from transports.reports import Modality, ModelInfo

# A folder of folders of models: "owner/name" and no deeper.
MAX_DEPTH = 2
# `messages.ModelName`.
MAX_NAME_LENGTH = 256
MAX_MODELS = 10_000

_REVISION = re.compile(r"[A-Za-z0-9_-]{1,64}")


# Name, folder and files of a model.
_Found: TypeAlias = tuple[str, Path, Signature]
_Source: TypeAlias = Literal["folder", "hub", "demo"]


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model that exists, or a demo model that can be fetched."""

    name: str
    # The worker kind that serves it; "" when none can.
    kind: str
    path: str
    source: _Source
    modalities: tuple[Modality, ...] = ("text",)
    size_bytes: int = 0
    context_length: int = 0
    # Unix time of its newest file, seconds.
    created: int = 0
    # Why it cannot be served.
    error: str = ""
    # Set for demo models that are fetched, before and after.
    demo: Demo | None = None
    is_present: bool = True

    def info(self) -> ModelInfo:
        """As clients see it while no worker has it."""
        return ModelInfo(
            name=self.name,
            kind=self.kind,
            state="failed" if self.error else "available" if self.is_present else "absent",
            source=self.source,
            path=self.path if self.is_present else "",
            modalities=self.modalities,
            size_bytes=self.size_bytes,
            context_length=self.context_length,
            created=self.created,
            error=self.error,
        )


class Catalog:
    """The models on this machine, as the last `scan` found them.

    Args:
        home: MLXD_HOME; its models/ is looked at first.
        paths: Further folders of models, or model folders.
        hub_cache: Whether the Hugging Face cache is looked at.
    """

    def __init__(self, home: Path, paths: Sequence[str | Path], hub_cache: bool) -> None:
        workers = package_dir("workers")
        self._embedded = tuple((name, workers / folder) for name, folder in EMBEDDED.items())
        self._models = home / "models"
        self._roots = (self._models, *(Path(path).expanduser() for path in paths))
        self._hub = hub_folder() if hub_cache else None
        self._scanning = threading.Lock()
        self._seen: dict[Path, tuple[Signature, FolderFacts]] = {}
        self._entries: dict[str, CatalogEntry] = {}

    def scan(self) -> tuple[CatalogEntry, ...]:
        """Look at the disk; blocks: call it in a thread. What did not change is not read again."""
        with self._scanning:
            entries: dict[str, CatalogEntry] = {}
            seen: dict[Path, tuple[Signature, FolderFacts]] = {}
            for (name, folder, files), source in self._folders():
                if name not in entries and len(entries) < MAX_MODELS:
                    seen[folder] = self._facts(folder, files)
                    entries[name] = _entry(name, folder, source, seen[folder][1])
            for demo in DEMOS.values():
                entries[demo.name] = self._demo(demo, entries.get(demo.name))
            self._seen = seen
            self._entries = dict(sorted(entries.items()))
        return tuple(self._entries.values())

    def entry(self, name: str) -> CatalogEntry | None:
        """The model of exactly this name in the last scan."""
        return self._entries.get(name)

    def _folders(self) -> Iterator[tuple[_Found, _Source]]:
        """All model folders; where two have one name, the first counts."""
        for name, folder in self._embedded:
            yield (name, folder, _files(folder) or ()), "demo"
        for root in self._roots:
            for found in _model_folders(root):
                yield found, "folder"
        if self._hub is not None:
            for found in _hub_models(self._hub):
                yield found, "hub"

    def _facts(self, folder: Path, files: Signature) -> tuple[Signature, FolderFacts]:
        known = self._seen.get(folder)
        return known if known and known[0] == files else (files, inspect_folder(folder, files))

    def _demo(self, demo: Demo, found: CatalogEntry | None) -> CatalogEntry:
        path = self._models / demo.name
        if found is not None and found.path == str(path):
            advice = f"; remove {path} to fetch it again" if found.error else ""
            return msgspec.structs.replace(found, source="demo", demo=demo, error=found.error + advice)
        return CatalogEntry(
            name=demo.name,
            kind=demo.kind,
            path=str(path),
            source="demo",
            modalities=MODALITIES[demo.kind],
            size_bytes=demo.size_bytes,
            context_length=demo.context_length,
            demo=demo,
            is_present=False,
        )


def hub_folder() -> Path:
    """Where huggingface_hub keeps its downloads, by its own rules."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache_home).expanduser() / "huggingface" / "hub"


def _entry(name: str, folder: Path, source: _Source, facts: FolderFacts) -> CatalogEntry:
    return CatalogEntry(
        name=name,
        kind=facts.kind,
        path=str(folder),
        source=source,
        modalities=facts.modalities,
        size_bytes=facts.size_bytes,
        context_length=facts.context_length,
        created=facts.created,
        error=facts.error,
    )


def _model_folders(root: Path) -> Iterator[_Found]:
    """The models below *root*, or *root* itself; the depth is bounded, so links may go in circles."""
    files = _files(root)
    if files is not None and is_model_folder(files):
        if _is_name(root.name):
            yield root.name, root, files
        return
    yield from _below(root, prefix="", depth=1)


def _below(parent: Path, prefix: str, depth: int) -> Iterator[_Found]:
    for folder in _subfolders(parent):
        name = prefix + folder.name
        files = _files(folder)
        if not _is_name(name) or files is None:
            continue
        if is_model_folder(files):
            yield name, folder, files
        elif depth < MAX_DEPTH:
            yield from _below(folder, f"{name}/", depth + 1)


def _hub_models(hub: Path) -> Iterator[_Found]:
    """The models in a Hugging Face cache, at their main revision."""
    for repository in _subfolders(hub):
        kind, *parts = repository.name.split("--")
        name = "/".join(parts)
        if kind != "models" or not _is_name(name):
            continue
        snapshot = _snapshot(repository)
        files = None if snapshot is None else _files(snapshot)
        # Half of what people have there is no language model: only what has a config.json is listed.
        if snapshot is not None and files is not None and any(file[0] == "config.json" for file in files):
            yield name, snapshot, files


def _snapshot(repository: Path) -> Path | None:
    try:
        revision = (repository / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        # Fetched at another revision by name: take the newest.
        snapshots = list(_subfolders(repository / "snapshots"))
        return max(snapshots, key=_mtime_ns, default=None)
    return repository / "snapshots" / revision if _REVISION.fullmatch(revision) else None


def _subfolders(parent: Path) -> Iterable[Path]:
    """Folders and links to folders in *parent*, without hidden ones; none where it cannot be read."""
    try:
        return sorted(path for path in parent.iterdir() if not path.name.startswith(".") and _is_dir(path))
    except OSError:
        return ()


def _files(folder: Path) -> Signature | None:
    try:
        return list_files(folder)
    except OSError:
        return None


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _is_name(name: str) -> bool:
    """Whether a client could say it: printable, and no bytes that are not text."""
    return 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()
