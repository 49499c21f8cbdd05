"""A library alone, in a process of its own: what is served is measured against it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from support import ROOT, real_home

from kernel.environment_build import environment_name


def worker_python(kind: str) -> Path:
    """The interpreter of the environment, built before, of a kind of workers."""
    environment = environment_name(kind, ROOT / "workers" / kind / "requirements.lock")
    return real_home() / "envs" / environment / "bin" / "python"


class Library:
    """mlx-lm or mlx-vlm, asked a JSON line at a time."""

    def __init__(self, kind: str, host: str, folder: Path) -> None:
        """Wait until the model is loaded.

        Args:
            kind: Of the workers whose environment has the library.
            host: The script beside this one that answers.
            folder: The model.
        """
        here = Path(__file__).parent
        self._process = subprocess.Popen(
            [worker_python(kind), here / host, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{here}", "HF_HUB_OFFLINE": "1"},
            text=True,
        )
        self._line()

    def rate(self, **order: object) -> float:
        """Tokens a second of what *order* asks for; the host's docstring tells its fields."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
