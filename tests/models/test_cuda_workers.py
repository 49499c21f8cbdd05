"""What workers do for CUDA and nowhere else; that it helps there is to be seen on a GPU alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROBE = Path(__file__).with_name("cuda_probe.py")

pytestmark = [pytest.mark.models, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def report(text_python: str) -> Any:
    """What the probe found."""
    environment = {**os.environ, "PYTHONPATH": str(PROBE.parents[2])}
    command = [text_python, "-P", str(PROBE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=50)
    return json.loads(done.stdout)


def test_attention_of_no_queries_is_nothing_and_of_others_mlxs(report: Any) -> None:
    assert report["is_installed"] == [True, True]
    assert report["of_none"] == [1, 4, 0, 5]
    assert report["is_same"]


def test_what_steps_compute_is_computed_once_before_requests_come(report: Any) -> None:
    assert report["on_cpu"] == 0
    assert report["computed"] == [[1, 1], [1, 2], [1, 4], [1, 1], [2, 1], [3, 1]]
    assert report["told"] == [pytest.approx(done / 6) for done in range(1, 7)]
