"""Brings models of a Hugging Face hub into its cache, by `workers.hub.pull`; one at a time of each.

The cache and not MLXD_HOME/models: what other programs have fetched is there already, revisions share their
files there, and a file's name is its checksum, so that a part of one can be gone on with.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from kernel.isolation import hub_environment
from kernel.tools import run_tool
from kernel.uv import explain
from transports.errors import ModelUnavailable, RequestError, from_failed
from transports.filelock import locked
from transports.messages import Failed, Progress

OnProgress = Callable[[Progress], None]

MAIN = "main"
# The program of `workers` that fetches; the environment of a kind that has it runs it.
PULLER = "pull"
# As the hub has them: one or two parts, no "--", which stands for "/" in the cache.
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
# A branch, a tag, a commit or "refs/pr/1".
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95}){0,3}", re.ASCII)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be pulled."""

    repo: str
    revision: str

    @classmethod
    def of(cls, repo: str, revision: str) -> Source:
        """A repository and its revision as a client names them; "" is the main one.

        Raises:
            RequestError: No hub has such a name.
        """
        if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo:
            raise RequestError(
                f"repository: expected OWNER/NAME as on the hub, got {repo[:100]!r}", param="model"
            )
        if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
            raise RequestError(
                f"revision: expected a branch, tag or commit, got {revision[:100]!r}", param="name"
            )
        return cls(repo=repo, revision=revision or MAIN)

    def folder(self, cache: Path) -> Path:
        """Where the repository is in the hub cache."""
        return cache / "--".join(("models", *self.repo.split("/")))


class _Line(msgspec.Struct, frozen=True):
    """A line of the tool's."""

    num_bytes: int = 0
    total_bytes: int = 0
    detail: str = ""
    snapshot: str = ""
    error: Failed | None = None


async def pull(
    source: Source, cache: Path, python: Path, link_dir: Path, on_progress: OnProgress, *, timeout_s: float
) -> Path:
    """Have a model in the hub cache; its snapshot there.

    Cancelled, or ended in whatever way, it leaves what came for the next try.

    Args:
        source: What is wanted.
        cache: The hub cache.
        python: Of an environment that has the `PULLER`.
        link_dir: The PYTHONPATH there.
        on_progress: Told of phase "download".
        timeout_s: For the wait for another pull of the same model, and for this one.

    Raises:
        MlxdError: It cannot be had; the message says why.
    """
    last = _Line()

    def on_line(text: str) -> None:
        nonlocal last
        with contextlib.suppress(msgspec.DecodeError):
            last = msgspec.json.decode(text, type=_Line)
            if last.error is None and not last.snapshot:
                on_progress(_progress(last))

    def on_wait() -> None:
        on_progress(Progress(phase="queued", detail="another pull of it runs"))

    command: list[str | Path] = [python, "-P", "-m", "workers", PULLER, source.repo]
    command += ["--revision", source.revision, "--cache", cache]
    env = hub_environment(os.environ) | {"PYTHONPATH": os.fspath(link_dir)}
    try:
        async with locked(lock_path(source.folder(cache)), timeout_s=timeout_s, on_wait=on_wait):
            on_progress(Progress(phase="download", detail="asking the hub"))
            result = await run_tool(command, env=env, cwd=cache, timeout_s=timeout_s, on_line=on_line)
    except TimeoutError:
        raise ModelUnavailable(
            f"{source.repo}: not finished after {timeout_s:g} s (models.pull_timeout_s); "
            "what came is kept for the next try"
        ) from None
    except OSError as e:
        raise ModelUnavailable(f"{source.repo}: {e.filename or cache}: {e.strerror}") from None
    if last.error:
        raise from_failed(last.error)
    if result.returncode != 0 or not last.snapshot:
        raise ModelUnavailable(f"{source.repo}: the download failed: {explain(result.lines)}")
    return Path(last.snapshot)


def lock_path(repository: Path) -> Path:
    """Held by whoever of us changes a repository of the cache; among the locks of huggingface_hub."""
    return repository.parent / ".locks" / repository.name / "mlxd.lock"


def _progress(line: _Line) -> Progress:
    fraction = line.num_bytes / line.total_bytes if line.total_bytes else None
    return Progress(
        phase="download",
        fraction=fraction,
        detail=line.detail,
        num_bytes=line.num_bytes,
        total_bytes=line.total_bytes,
    )
