"""mlx-lm's tool parsers behind our reader: they read what their family writes, and survive what it may."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.models

ROOT = Path(__file__).resolve().parents[2]
NUM_MUTATED = 500
# Of one output, however long; processor time, for the machine may be busy.
MAX_S = 0.05


def test_every_family_is_read_and_500_mutated_outputs_each_neither_raise_nor_take_long(
    text_python: str,
) -> None:
    done = subprocess.run(
        [text_python, "-P", "tests/models/tool_parser_probe.py", str(NUM_MUTATED)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    families = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(families) >= 14
    wanted = [["look", {"at": "a, b", "n": 3}], ["add", {}]]
    assert [] == [f for f in families if [[n, json.loads(a)] for n, a in f["calls"]] != wanted]
    assert [] == [
        (f["family"], f["raised"], f["differing"]) for f in families if f["raised"] or f["differing"]
    ]
    assert [] == [f for f in families if f["slowest_s"] >= MAX_S]
