"""OpenBLAS and large pages for mlx on a Linux CPU; must act before mlx is imported.

The mlx-cpu wheel carries the reference BLAS: with OpenBLAS preloaded prompts are read about ten times
faster. Only the loader can put it in front, so the process starts itself again with LD_PRELOAD. A decode
step reads all weights; in pages of 2 MB it takes about 5 % less.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

# Where distributions put it; ldconfig may be missing or know nothing of it.
_KNOWN_PATHS = (
    "/usr/lib/x86_64-linux-gnu/libopenblas.so.0",
    "/usr/lib/aarch64-linux-gnu/libopenblas.so.0",
    "/usr/lib64/libopenblas.so.0",
    "/usr/lib/libopenblas.so.0",
)
# Set in the second life, so that a library that cannot be loaded is not tried for ever.
_TRIED = "MLXD_BLAS_TRIED"


def preload_openblas(argv: Sequence[str]) -> None:
    """Start this process again with OpenBLAS in front, where that helps; otherwise do nothing.

    Args:
        argv: How the process was started: `sys.orig_argv`. Stdin must still be unread.
    """
    if not (sys.platform == "linux" and mlx_uses_cpu()) or openblas_is_loaded() or _TRIED in os.environ:
        return
    library = find_openblas()
    if library is None:
        return
    preloaded = [library, *filter(None, [os.environ.get("LD_PRELOAD")])]
    # One thread: mlx calls it from its own threads, and two were slower on two cores.
    defaults = {"OPENBLAS_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    environment = {**defaults, **os.environ, "LD_PRELOAD": ":".join(preloaded), _TRIED: "1"}
    os.execve(sys.executable, [sys.executable, *argv[1:]], environment)  # noqa: S606 - ourselves


def mlx_uses_cpu() -> bool:
    """Whether the mlx installed here computes on the CPU of a Linux machine."""
    try:
        distribution("mlx-cpu")
    except PackageNotFoundError:
        return False
    return True


def openblas_is_loaded() -> bool:
    """Whether OpenBLAS is in this process."""
    try:
        return "openblas" in Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:
        return False


def reserve_buffers(num_threads: int) -> None:
    """Have OpenBLAS, if it is there, map the buffers of *num_threads* that compute at the same time.

    It maps one, 128 MB of addresses without pages, when a thread first finds all others taken. Where that
    cannot be done, 0.3.21 tries again for ever, and whoever waits for the thread hangs.
    """
    library = ctypes.CDLL(None)
    try:
        allocate, free = library.blas_memory_alloc, library.blas_memory_free
    except AttributeError:
        return
    allocate.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    for buffer in [allocate(0) for _ in range(num_threads)]:
        free(buffer)


def find_openblas() -> str | None:
    """The system's OpenBLAS: a path or a name that the loader knows."""
    for path in _KNOWN_PATHS:
        if Path(path).exists():
            return path
    return ctypes.util.find_library("openblas")
