"""Whether a text has at least as many tokens as are said without making them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.models

ROOT = Path(__file__).resolve().parents[2]


def test_no_text_has_fewer_tokens_than_are_said(text_python: str, smollm2: Path, tiny_vl: Path) -> None:
    """It would be refused although it fits."""
    result = subprocess.run(
        [
            text_python,
            "-P",
            str(Path(__file__).with_name("token_borders_probe.py")),
            str(smollm2),
            str(tiny_vl),
        ],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    found = dict(json.loads(line) for line in result.stdout.splitlines())
    assert ["lower case", "no spaces"] == [name for name, counts in found.items() if counts is None]
    for name, counts in found.items():
        assert [] == [pair for pair in counts or () if pair[0] < pair[1]], name
    # Of real text most are seen.
    (num_tokens, at_least), *_ = found[smollm2.name]
    assert at_least > 0.7 * num_tokens
