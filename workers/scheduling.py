"""How the system schedules a worker: as a program that computes, behind those that answer."""

from __future__ import annotations

import contextlib
import os
import sys


def yield_to_others() -> None:
    """On Linux, take a processor from nobody when we wake. Holds for threads that are started after this.

    mlx's threads wake each other a hundred times a step. Under SCHED_BATCH none of these interrupts a step of
    another model's worker, while frontends and the kernel still interrupt us; we lose no time that is free.
    """
    # What somebody else chose stays; a container may forbid it.
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
