"""Which models exist: folders, the Hugging Face cache, demo models. Reads no weights and runs nothing.

A name that comes from a client is only ever compared with the names found here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from kernel.demos import DEMOS, EMBEDDED, Demo
from kernel.folders import is_model_name, raise_if_not_of_the_file, subfolders
from kernel.hub_cache import HubModel, hub_folder, hub_models, is_partial
from kernel.isolation import package_dir
from kernel.model_folder import (
    FolderFacts,
    Signature,
    inspect_folder,
    is_model_folder,
    list_files,
)
from kernel.model_sizes import ModelSizes
from kernel.worker_kinds import WorkerKinds
from transports.reports import Capability, Modality, ModelInfo

# A folder of folders of models: "owner/name" and no deeper.
MAX_DEPTH = 2
MAX_MODELS = 10_000

# The files of a folder that may not be looked into.
_UNREADABLE: Signature = (("", -1, 0),)

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
    capabilities: tuple[Capability, ...] = ()
    tasks: tuple[str, ...] = ()
    size_bytes: int = 0
    sizes: ModelSizes = ModelSizes()
    context_length: int = 0
    # Unix time of its newest file, seconds.
    created: int = 0
    # Why it cannot be served.
    error: str = ""
    # Of its files; another one after a change.
    fingerprint: str = ""
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
            capabilities=self.capabilities,
            tasks=self.tasks,
            size_bytes=self.size_bytes,
            context_length=self.context_length,
            created=self.created,
            error=self.error,
            fingerprint=self.fingerprint,
        )


class Catalog:
    """The models on this machine, as the last `scan` found them.

    Args:
        home: MLXD_HOME; its models/ is looked at first.
        paths: Further folders of models, or model folders.
        hub_cache: Whether the Hugging Face cache is looked at.
        kinds: The worker kinds that may serve them; None takes those that are installed.
    """

    def __init__(
        self, home: Path, paths: Sequence[str | Path], hub_cache: bool, kinds: WorkerKinds | None = None
    ) -> None:
        self._kinds = (kinds or WorkerKinds.installed()).declarations
        workers = package_dir("workers")
        self._embedded = tuple((name, workers / folder) for name, folder in EMBEDDED.items())
        self._models = home / "models"
        self._roots = (self._models, *(Path(path).expanduser() for path in paths))
        self._hub = hub_folder() if hub_cache else None
        self._scanning = threading.Lock()
        self._seen: dict[Path, _Look] = {}
        self._entries: dict[str, CatalogEntry] = {}

    def scan(self) -> tuple[CatalogEntry, ...]:
        """Look at the disk; blocks: call it in a thread. What did not change is not read again."""
        with self._scanning:
            entries: dict[str, CatalogEntry] = {}
            seen: dict[Path, _Look] = {}
            for (name, folder, files), source in self._folders():
                if name not in entries and len(entries) < MAX_MODELS:
                    seen[folder] = self._look(folder, files)
                    entries[name] = _entry(name, folder, source, seen[folder])
            if self._hub is not None:
                self._add_hub(self._hub, entries, seen)
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

    def _add_hub(self, hub: Path, entries: dict[str, CatalogEntry], seen: dict[Path, _Look]) -> None:
        for model in hub_models(hub):
            if model.name in entries or len(entries) >= MAX_MODELS:
                continue
            if model.snapshot is None:
                entries[model.name] = _unfinished(model)
                continue
            files = _files(model.snapshot)
            # Half of what people have there is no language model, and old revisions are often a file or two.
            if files is None or not _is_listed(model, files):
                continue
            look = seen[model.snapshot] = self._look(model.snapshot, files)
            entry = _entry(model.name, model.snapshot, "hub", look)
            if entry.error and is_partial(model.repository):
                entry = msgspec.structs.replace(entry, error=f"{entry.error}; {_not_finished(model)}")
            entries[model.name] = entry

    def _look(self, folder: Path, files: Signature) -> _Look:
        known = self._seen.get(folder)
        return known if known and known.files == files else self._look_into(folder, files)

    def _look_into(self, folder: Path, files: Signature) -> _Look:
        if files == _UNREADABLE:
            return _Look(files, FolderFacts(error="the folder cannot be read: permission denied"), "")
        return _Look(files, inspect_folder(folder, files, self._kinds), _digest(folder, files))

    def _demo(self, demo: Demo, found: CatalogEntry | None) -> CatalogEntry:
        path = self._models / demo.name
        if found is not None and found.path == str(path):
            advice = f"; `mlxd models rm {demo.name}` has it fetched again" if found.error else ""
            return msgspec.structs.replace(found, source="demo", demo=demo, error=found.error + advice)
        return CatalogEntry(
            name=demo.name,
            kind=demo.kind,
            path=str(path),
            source="demo",
            modalities=self._kinds[demo.kind].modalities,
            capabilities=self._kinds[demo.kind].capabilities,
            tasks=demo.tasks,
            size_bytes=demo.size_bytes,
            sizes=demo.sizes,
            context_length=demo.context_length,
            demo=demo,
            is_present=False,
        )


class _Look(msgspec.Struct, frozen=True):
    """What a folder held when it was looked into."""

    files: Signature
    facts: FolderFacts
    fingerprint: str


def fingerprint(folder: Path) -> str:
    """Of the files that a model folder holds now, as `CatalogEntry.fingerprint`; "" if it cannot be read."""
    files = _files(folder)
    return _digest(folder, files) if files else ""


def _digest(folder: Path, files: Signature) -> str:
    return hashlib.blake2b(repr((str(folder), files)).encode(), digest_size=8).hexdigest()


def _is_listed(model: HubModel, files: Signature) -> bool:
    names = [name for name, _, _ in files]
    is_old = "@" in model.name and not model.refs
    return any(n.endswith(".safetensors") for n in names) if is_old else "config.json" in names


def _unfinished(model: HubModel) -> CatalogEntry:
    return CatalogEntry(
        name=model.name, kind="", path=str(model.repository), source="hub", error=_not_finished(model)
    )


def _not_finished(model: HubModel) -> str:
    return f"its download has not finished: `mlxd pull {model.name.partition('@')[0]}` goes on"


def _entry(name: str, folder: Path, source: _Source, look: _Look) -> CatalogEntry:
    facts = look.facts
    return CatalogEntry(
        name=name,
        kind=facts.kind,
        path=str(folder),
        source=source,
        modalities=facts.modalities,
        capabilities=facts.capabilities,
        tasks=facts.tasks,
        size_bytes=facts.size_bytes,
        sizes=facts.sizes,
        context_length=facts.context_length,
        created=facts.created,
        error=facts.error,
        fingerprint=look.fingerprint,
    )


def _model_folders(root: Path) -> Iterator[_Found]:
    """The models below *root*, or *root* itself; the depth is bounded, so links may go in circles."""
    files = _files(root)
    if files is not None and is_model_folder(files):
        if is_model_name(root.name):
            yield root.name, root, files
        return
    yield from _below(root, prefix="", depth=1)


def _below(parent: Path, prefix: str, depth: int) -> Iterator[_Found]:
    for folder in subfolders(parent):
        name = prefix + folder.name
        files = _files(folder)
        if not is_model_name(name) or files is None:
            continue
        if is_model_folder(files) or files == _UNREADABLE:
            yield name, folder, files
        elif depth < MAX_DEPTH:
            yield from _below(folder, f"{name}/", depth + 1)


def _files(folder: Path) -> Signature | None:
    """None when it cannot be read; `_UNREADABLE` when it may not be, which a person can mend."""
    try:
        return list_files(folder)
    except PermissionError:
        return _UNREADABLE
    except OSError as e:
        raise_if_not_of_the_file(e)
        return None
