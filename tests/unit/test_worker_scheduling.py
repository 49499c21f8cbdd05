"""A worker's threads interrupt nobody, unless somebody else has chosen how they are scheduled."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux schedules so")

SCRIPT = """
import os, sys, threading
os.sched_setscheduler(0, getattr(os, sys.argv[1]), os.sched_param(0))
from workers.scheduling import yield_to_others
yield_to_others()
found = []
thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
thread.start(); thread.join()
print([name for name in ("SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE") if getattr(os, name) == found[0]][0])
"""


@pytest.mark.parametrize(("before", "after"), [("SCHED_OTHER", "SCHED_BATCH"), ("SCHED_IDLE", "SCHED_IDLE")])
def test_a_worker_s_threads(before: str, after: str) -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT, before], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == after
