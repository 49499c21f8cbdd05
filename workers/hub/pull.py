"""Brings a model of a Hugging Face hub into its cache.

`python -P -m workers pull REPO --revision REVISION --cache FOLDER` writes progress as JSON lines on stdout,
and at the end {"snapshot": its folder}, or {"error": {"code", "message"}} and exit status 1. What was fetched
is used by the next pull.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers

from transports.errors import (
    Forbidden,
    InsufficientStorage,
    MlxdError,
    ModelNotFound,
    ModelUnavailable,
)
from workers.hub.blobs import fetch
from workers.hub.cache import RepoFolder
from workers.hub.files import RepoFile, choose

# Stays free: a full disk harms more than a model that is not there.
RESERVED_BYTES = 1024**3
# Seconds between two lines of progress.
MIN_INTERVAL_S = 0.2
# For the listing; files have the library's own, HF_HUB_DOWNLOAD_TIMEOUT.
LISTING_TIMEOUT_S = 30.0
KEPT = "what came is kept for the next try"
# The processor is for requests.
NICENESS = 10


class Pull:
    """One model on its way."""

    def __init__(self, repo: str, revision: str, cache: Path) -> None:
        self._repo = repo
        self._revision = revision
        self._cache = cache
        self._token = get_token()
        self._view = Report()

    def run(self) -> Path:
        """Fetch it; its snapshot.

        Raises:
            MlxdError: It cannot be had; the message says why.
        """
        try:
            return self._run()
        except MlxdError as e:
            raise type(e)(f"{self._repo}: {e.message}") from None
        except OfflineModeIsEnabled:
            raise ModelUnavailable(f"{self._repo}: HF_HUB_OFFLINE is set: nothing is fetched") from None
        except HfHubHTTPError as e:
            raise self._refused(e) from None
        except httpx2.TransportError as e:
            reason = f"{constants.ENDPOINT} cannot be reached: {str(e) or type(e).__name__}"
            raise ModelUnavailable(f"{self._repo}: {reason}; {KEPT}") from None
        except OSError as e:
            raise ModelUnavailable(f"{self._repo}: {e.filename or self._cache}: {e.strerror or e}") from None

    def _run(self) -> Path:
        commit, files = self._listing()
        folder = RepoFolder(self._cache, self._repo)
        missing_bytes = folder.missing_bytes(files)
        self._check_room(missing_bytes)
        # Files are not asked for compressed: what is fetched in parts has no compressed length.
        headers = build_hf_headers(token=self._token or False) | {"Accept-Encoding": "identity"}
        self._view.begin(files, missing_bytes)
        for file in files:
            url = hf_hub_url(self._repo, file.name, revision=commit)
            self._view.next(file)
            fetch(file, url, headers, folder.blobs, self._view.came)
        self._view.end()
        return folder.publish(files, commit, self._revision)

    def _listing(self) -> tuple[str, tuple[RepoFile, ...]]:
        """The commit that the revision stands for, and the files that are needed."""
        info = HfApi(token=self._token or False).model_info(
            self._repo, revision=self._revision, files_metadata=True, timeout=LISTING_TIMEOUT_S
        )
        if not (info.sha and len(info.sha) == 40 and info.sha.isalnum()):
            raise ModelUnavailable("the hub gives no commit for it")
        return info.sha, choose(_files(info.siblings or ()))

    def _check_room(self, missing_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self._cache).free
        if missing_bytes + RESERVED_BYTES > free_bytes:
            needed, free, reserved = (
                f"{n / 1e9:.1f} GB" for n in (missing_bytes, free_bytes, RESERVED_BYTES)
            )
            raise InsufficientStorage(
                f"it needs {needed} more in {self._cache}, where {free} are free and {reserved} must stay so"
            )

    def _refused(self, error: HfHubHTTPError) -> MlxdError:
        hub, repo = constants.ENDPOINT, self._repo
        status = error.response.status_code
        login = "set HF_TOKEN where mlxd runs, or `hf auth login`"
        match error:
            case GatedRepoError():
                return Forbidden(
                    f"{repo}: its authors ask for consent: give it at {hub}/{repo}, then {login}"
                )
            case RevisionNotFoundError():
                return ModelNotFound(f"{repo}: it has no revision {self._revision!r}", param="revision")
            case RepositoryNotFoundError():
                return ModelNotFound(f"{repo}: not at {hub}; for a private one {login}", param="model")
            case _ if status in (401, 403):
                return Forbidden(f"{repo}: {hub} refuses the token (HTTP {status}); {login}")
            case _:
                return ModelUnavailable(f"{repo}: {hub} answers HTTP {status}; {KEPT}")


class Report:
    """Tells how far it is, on stdout."""

    def __init__(self) -> None:
        self._num_bytes = self._total_bytes = self._num_files = self._total_files = 0
        self._told_s = 0.0

    def begin(self, files: tuple[RepoFile, ...], missing_bytes: int) -> None:
        """These are to be there."""
        self._total_files = len(files)
        self._total_bytes = sum(file.size_bytes for file in files)
        self._num_bytes = self._total_bytes - missing_bytes

    def next(self, file: RepoFile) -> None:
        """This one begins."""
        self._num_files += 1
        self._tell(file.name)

    def came(self, num_bytes: int) -> None:
        """Bytes came; negative: they were no good."""
        self._num_bytes += num_bytes
        if time.monotonic() - self._told_s >= MIN_INTERVAL_S:
            self._tell()

    def end(self) -> None:
        """All are there."""
        self._tell()

    def _tell(self, file: str = "") -> None:
        self._told_s = time.monotonic()
        detail = f"{self._num_files} of {self._total_files} files"
        say({"num_bytes": self._num_bytes, "total_bytes": self._total_bytes, "detail": detail, "file": file})


class Warnings(logging.Handler):
    """Passes on what the library warns of: that it waits, and tries again."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it as a detail."""
        if "Rate limited" in (text := record.getMessage()):
            say({"detail": text})


def say(line: dict[str, object]) -> None:
    """Tell the kernel something."""
    print(json.dumps(line), flush=True)


def main(argv: list[str]) -> int:
    """Run a pull as a process of its own; the exit status."""
    parser = argparse.ArgumentParser(prog="workers pull")
    parser.add_argument("repo")
    parser.add_argument("--revision", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args(argv)
    os.nice(NICENESS)
    logging.getLogger("huggingface_hub").addHandler(Warnings())
    try:
        snapshot = Pull(arguments.repo, arguments.revision, arguments.cache).run()
    except MlxdError as e:
        say({"error": {"code": e.code, "message": e.message}})
        return 1
    say({"snapshot": str(snapshot)})
    return 0


def _files(siblings: Iterable[RepoSibling]) -> Iterable[RepoFile]:
    for sibling in siblings:
        size_bytes = sibling.size if sibling.lfs is None else sibling.lfs.size
        yield RepoFile(
            name=sibling.rfilename,
            size_bytes=-1 if size_bytes is None else size_bytes,
            sha256=sibling.lfs.sha256 if sibling.lfs else "",
            git_sha1=sibling.blob_id or "",
        )
