"""The tables of docs/images.md are what the script counts; the script knows the model that we have."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.models

ROOT = Path(__file__).parents[2]


def test_the_recommendations_are_computed(vision_python: str) -> None:
    """The script fails where a shape has other parameters than the published model."""
    done = subprocess.run(
        [vision_python, "tests/benchmarks/vision_memory.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    documented = (ROOT / "docs" / "images.md").read_text()
    assert [line for line in done.stdout.splitlines() if line not in documented.splitlines()] == []
