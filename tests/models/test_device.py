"""What is chosen with a device, in the text worker's environment; the GPU is played."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PROGRAM = """
from types import SimpleNamespace
from workers.generation import weights

limits = []
weights.mx = SimpleNamespace(
    default_device=lambda: "gpu",
    Device=lambda kind: kind,
    gpu="gpu",
    cpu="cpu",
    metal=SimpleNamespace(is_available=lambda: True),
    set_cache_limit=limits.append,
)
print(weights.choose_device("text", "auto"), *limits)
"""

pytestmark = [pytest.mark.models, pytest.mark.timeout(60)]


def test_a_gpu_keeps_little_of_what_was_freed(text_python: str) -> None:
    """mlx's own limit is above what a Mac's GPU may have for all processes together."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [text_python, "-P", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )

    assert done.stdout.split() == ["metal", str(512 * 1024**2)]
