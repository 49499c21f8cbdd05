"""What is in the Hugging Face cache of this machine: repositories, their revisions, what has not come whole.

Reads the layout of huggingface_hub. The main revision of a repository has its name; another one has "@" and
the name of its branch or tag behind it, or the begin of its commit if nothing points to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kernel.folders import is_model_name, modified_ns, subfolders

# Of a commit that has no name, in the name of a model.
COMMIT_CHARACTERS = 12
MAX_REVISIONS = 100
# "refs/pr/1" is the longest that there is.
MAX_REF_DEPTH = 4
_COMMIT = re.compile(r"[A-Za-z0-9_-]{1,64}")
# A blob that is not whole; `workers/hub/blobs.py` goes on with such.
PARTIAL = ".incomplete"


class HubModel(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a repository, or what came so far of one."""

    name: str
    repository: Path
    # None: nothing of it can be used yet.
    snapshot: Path | None
    # Refs that point to it, "/" between their parts.
    refs: tuple[str, ...] = ()


def hub_folder() -> Path:
    """Where huggingface_hub keeps its downloads, by its own rules."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache_home).expanduser() / "huggingface" / "hub"


def hub_models(hub: Path) -> Iterator[HubModel]:
    """All revisions of all repositories of models in the cache, without looking into them."""
    for repository in subfolders(hub):
        kind, *parts = repository.name.split("--")
        name = "/".join(parts)
        if kind == "models" and is_model_name(name):
            yield from revisions(name, repository)


def revisions(name: str, repository: Path) -> Iterator[HubModel]:
    """Those of one repository; the one that has its plain name comes first."""
    snapshots = {path.name: path for path in subfolders(repository / "snapshots")}
    refs = read_refs(repository)
    if not snapshots:
        if is_partial(repository):
            yield HubModel(name=name, repository=repository, snapshot=None)
        return
    pointed: dict[str, list[str]] = {}
    for ref, commit in sorted(refs.items(), key=lambda item: (item[0] != "main", item[0])):
        if commit in snapshots:
            pointed.setdefault(commit, []).append(ref)
    rest = sorted(
        set(snapshots) - set(pointed), key=lambda commit: modified_ns(snapshots[commit]), reverse=True
    )
    if not refs and rest:
        # Fetched by its commit alone.
        yield HubModel(name=name, repository=repository, snapshot=snapshots[rest.pop(0)])
    for commit, names in pointed.items():
        suffix = "" if names[0] == "main" else f"@{names[0]}"
        yield HubModel(
            name=name + suffix, repository=repository, snapshot=snapshots[commit], refs=tuple(names)
        )
    for commit in rest[:MAX_REVISIONS]:
        yield HubModel(
            name=f"{name}@{commit[:COMMIT_CHARACTERS]}", repository=repository, snapshot=snapshots[commit]
        )


def read_refs(repository: Path) -> dict[str, str]:
    """Branch, tag or "refs/pr/1" -> the commit that it points to."""
    root = repository / "refs"
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        if len(inside.parts) + 1 >= MAX_REF_DEPTH:
            folders.clear()
        for file in sorted(files)[:MAX_REVISIONS]:
            try:
                commit = Path(folder, file).read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                continue
            if not file.startswith(".") and _COMMIT.fullmatch(commit) and len(found) < MAX_REVISIONS:
                found["/".join((*inside.parts, file))] = commit
    return found


def is_partial(repository: Path) -> bool:
    """Whether a download into this repository began and has not come to its end."""
    try:
        with os.scandir(repository / "blobs") as blobs:
            return any(blob.name.endswith(PARTIAL) for blob in blobs)
    except OSError:
        return False
