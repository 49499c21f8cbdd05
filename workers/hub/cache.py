"""The folder of one repository in the hub cache: blobs named by their hash, snapshots of links, refs.

The layout is huggingface_hub's; other programs read and write it too.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from workers.hub.files import RepoFile

# A snapshot that is being made; the catalog looks at no name with a dot in front.
INCOMING = ".incoming-"


class RepoFolder:
    """models--OWNER--NAME; the caller holds its lock."""

    def __init__(self, cache: Path, repo: str) -> None:
        """Make it, and remove what a crash left in it but for partial blobs."""
        self._path = cache / "--".join(("models", *repo.split("/")))
        self.blobs = self._path / "blobs"
        self._snapshots = self._path / "snapshots"
        for folder in (self.blobs, self._snapshots, self._path / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        for left in self._snapshots.glob(f"{INCOMING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def missing_bytes(self, files: Iterable[RepoFile]) -> int:
        """What must come of these files."""
        missing = 0
        for file in files:
            if not (self.blobs / file.blob).exists():
                partial = self.blobs / f"{file.blob}.incomplete"
                there = partial.stat().st_size if partial.exists() else 0
                missing += max(0, file.size_bytes - there)
        return missing

    def publish(self, files: Iterable[RepoFile], commit: str, revision: str) -> Path:
        """Show files whose blobs are all there as the snapshot of *commit*, in one step; its folder."""
        incoming = self._snapshots / f"{INCOMING}{secrets.token_hex(4)}"
        incoming.mkdir()
        try:
            for file in files:
                (incoming / file.name).symlink_to(Path("..", "..", "blobs", file.blob))
            snapshot = self._snapshots / commit
            if snapshot.is_dir():
                # Another program has brought some of it; what it brought besides stays.
                for link in incoming.iterdir():
                    link.replace(snapshot / link.name)
            else:
                incoming.rename(snapshot)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        if revision != commit:
            self._point(revision, commit)
        return snapshot

    def _point(self, revision: str, commit: str) -> None:
        ref = self._path / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f"{INCOMING}{secrets.token_hex(4)}")
        temporary.write_text(commit, encoding="ascii")
        temporary.replace(ref)
