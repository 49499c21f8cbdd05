"""Attention and SiLU on a Linux CPU are computed by ourselves, and are right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROBE = Path(__file__).with_name("arithmetic_probe.py")

pytestmark = [
    pytest.mark.models,
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform != "linux", reason="mlx's own is as fast elsewhere"),
]


@pytest.fixture(scope="module")
def report(text_python: str) -> Any:
    """What the probe found."""
    environment = {**os.environ, "PYTHONPATH": str(PROBE.parents[2])}
    done = subprocess.run(
        [text_python, "-P", str(PROBE)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return json.loads(done.stdout)


def test_each_mask_gives_what_float64_gives(report: Any) -> None:
    wrong = [case for case in report["cases"] if not case[2] < 3e-6]
    assert not wrong


def test_cases_lie_on_both_sides_of_the_limit(report: Any) -> None:
    sizes = {size >= report["min_scores"] for _, size, _ in report["cases"]}
    assert sizes == {True, False}


def test_only_cpus_are_given_it(report: Any) -> None:
    assert report["is_ours"] == [False, True]


def test_activations_give_what_float64_gives(report: Any) -> None:
    wrong = {name: error for name, error in report["activations"].items() if not error < 1e-6}
    assert not wrong
