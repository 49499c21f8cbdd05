"""Which files of a repository a model needs, and which names no repository may have. Knows no network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from msgspec import Struct

from transports.errors import RequestError

# What mlx-lm and mlx-vlm read of a model folder, without Python; and the licence.
WANTED = (
    *("model*.safetensors", "*.json", "*.jinja", "*.txt", "*.tiktoken", "tokenizer.model", "*.jsonl"),
    *("LICENSE*", "LICENCE*", "NOTICE*"),
)
# A model of a hub has some dozens; a listing beyond this is none.
MAX_FILES = 10_000
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class RepoFile(Struct, frozen=True, kw_only=True):
    """A file as the hub lists it."""

    name: str
    size_bytes: int
    # Of its content if it is a large file (LFS), else "".
    sha256: str = ""
    # Of the git blob: for a large file that is only a pointer.
    git_sha1: str = ""

    @property
    def blob(self) -> str:
        """Its name among the blobs of the cache: the hash that its content must have."""
        return self.sha256 or self.git_sha1


def choose(files: Iterable[RepoFile]) -> tuple[RepoFile, ...]:
    """The files that are needed to serve the model, small ones first.

    Raises:
        RequestError: The listing is not to be trusted, or holds no model that can be served.
    """
    listed = list(files)
    if len(listed) > MAX_FILES:
        raise RequestError(f"the hub lists {len(listed)} files; expected at most {MAX_FILES}")
    for file in listed:
        _vet_name(file.name)
    wanted = [file for file in listed if is_wanted(file.name)]
    for file in wanted:
        _vet_content(file)
    names = {file.name for file in wanted}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        missing = "config.json" if "config.json" not in names else "model.safetensors"
        others = sorted(
            f.name for f in listed if f.name.endswith((".gguf", ".bin", ".pt", ".npz", ".safetensors"))
        )
        found = f", found {others[0]}" if others else ""
        advice = "; download that file and use `mlxd models import`" if found.endswith(".gguf") else ""
        raise RequestError(f"it has no {missing}{found}: mlxd serves model folders with safetensors{advice}")
    return tuple(sorted(wanted, key=lambda file: (file.size_bytes, file.name)))


def is_wanted(name: str) -> bool:
    """Whether a model is served with this file; what is in subfolders is for other programs."""
    return any(fnmatchcase(name, pattern) for pattern in WANTED) and "/" not in name


def _vet_name(name: str) -> None:
    parts = name.split("/")
    if (
        not name.isprintable()
        or "\\" in name
        or len(name) > 1024
        or any(part in ("", ".", "..") or len(part) > 255 for part in parts)
    ):
        raise RequestError(f"the hub lists a file with a name that could leave its folder: {name[:100]!r}")


def _vet_content(file: RepoFile) -> None:
    is_known = bool(_SHA256.fullmatch(file.sha256)) if file.sha256 else bool(_SHA1.fullmatch(file.git_sha1))
    if file.size_bytes < 0 or not is_known:
        raise RequestError(f"{file.name}: the hub gives no size or checksum for it")
