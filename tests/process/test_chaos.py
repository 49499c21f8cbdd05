"""Row 50: load from all frontends and random faults, for some seconds; .ci/run has two minutes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHAOS = Path(__file__).parents[1] / "benchmarks" / "chaos.py"
SEED = 20_261_125
MINUTES = 0.15
TIMEOUT_S = 110.0


def test_what_must_hold_holds_under_load_and_faults() -> None:
    command = [sys.executable, CHAOS, "--minutes", str(MINUTES), "--seed", str(SEED), "--json"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["violation"] == ""
    assert summary["rounds"] >= 1
    assert summary["requests"] > 50
    assert sum(summary["faults"].values()) >= 5
