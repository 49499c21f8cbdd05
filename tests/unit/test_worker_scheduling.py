"""A worker's threads that compute interrupt nobody, unless somebody chose how they are scheduled."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux schedules so")

SCRIPT = """
import os, sys, threading
from workers.scheduling import Scheduling

NAMES = {getattr(os, name): name for name in ("SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE")}

def started():
    found = []
    thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
    thread.start(); thread.join()
    return NAMES[found[0]]

os.sched_setscheduler(0, getattr(os, sys.argv[1]), os.sched_param(0))
scheduling = Scheduling()
before = started()
scheduling.compute()
computing = started()
scheduling.listen()
print(before, computing, NAMES[os.sched_getscheduler(0)])
"""


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("SCHED_OTHER", "SCHED_OTHER SCHED_BATCH SCHED_OTHER"), ("SCHED_IDLE", " ".join(["SCHED_IDLE"] * 3))],
)
def test_a_worker_s_threads_before_it_computes_then_and_after(chosen: str, expected: str) -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT, chosen], capture_output=True, text=True, check=True)

    assert expected == ended.stdout.strip()
