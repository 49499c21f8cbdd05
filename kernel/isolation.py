"""What a worker process gets to see: our two packages and an allow-list of environment variables.

Knows the packages by name only and never imports them.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from transports.errors import ConfigError

# What a worker may import besides its own environment.
SHARED_PACKAGES = ("workers", "transports")

# Variables that a worker inherits. A list of what is allowed: tokens and keys are in no list of what is not.
_ALLOWED = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "MLXD_HOME"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
        *("CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    )
)
_ALLOWED_PREFIXES = ("LC_", "MLX_", "OMP_", "OPENBLAS_", "VECLIB_", "METAL_", "MTL_")
_SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "API_KEY")
# For a program that fetches from a model hub, and only for that.
_HUB = frozenset(
    (
        *("HF_ENDPOINT", "HF_HOME", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "XDG_CACHE_HOME"),
        *("HF_HUB_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    )
)
_FIXED = {
    # A name that is no folder must never become a download.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # Its advice on a prompt that was refused would pass for the last words of a process that crashed.
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    # tokenizers' own thread pool would take the cores from mlx.
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
}


def package_dir(name: str) -> Path:
    """The folder of one of our packages, found without importing it.

    Raises:
        ConfigError: It is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"{name}: package not found; install mlxd again in an environment of its own")
    return Path(next(iter(spec.submodule_search_locations)))


class LinkDirs:
    """The folders that are a worker's PYTHONPATH: links to what its kind may import, and nothing else.

    Args:
        run_dir: The kernel's.
        shared: What every kind may import, by name; None takes `SHARED_PACKAGES`.
    """

    def __init__(self, run_dir: Path, shared: Mapping[str, Path] | None = None) -> None:
        self._root = run_dir / "packages"
        self._shared = {name: package_dir(name) for name in SHARED_PACKAGES} if shared is None else shared

    def make(self, kind: str, packages: Mapping[str, Path]) -> Path:
        """The folder for workers of *kind*, which may import *packages* too, by name."""
        link_dir = self._root / kind
        link_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Nobody takes the place of what all share.
        for name, path in {**packages, **self._shared}.items():
            link = link_dir / name
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
            link.symlink_to(path)
        return link_dir


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of *environ* that a worker gets, and those that every worker gets; not yet PYTHONPATH."""
    inherited = {name: value for name, value in environ.items() if _is_allowed(name)}
    return inherited | _FIXED


def hub_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker gets, and what a program needs that fetches from the model hub, its token among it."""
    without = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
    env = {name: value for name, value in worker_environment(environ).items() if name not in without}
    env |= {name: value for name, value in environ.items() if name.upper() in _HUB}
    # Its own downloader is not used, and what it prints would go between our lines.
    return env | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def _is_allowed(name: str) -> bool:
    if any(word in name.upper() for word in _SECRET_WORDS):
        return False
    return name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)
