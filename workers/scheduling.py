"""How the system schedules a worker: while it computes, behind those that answer."""

from __future__ import annotations

import contextlib
import os
import sys


class Scheduling:
    """Of the thread that uses it, on Linux. What somebody else chose stays."""

    def __init__(self) -> None:
        """The thread listens."""
        self._is_ours = sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER
        self._computes = False

    def compute(self) -> None:
        """Take a processor from nobody when we wake. Holds also for threads that are started after this.

        mlx's threads wake each other a hundred times a step. Under SCHED_BATCH none of these interrupts a
        step of another model's worker, while frontends and the kernel still interrupt us; we lose no time
        that is free.
        """
        self._set(computes=True)

    def listen(self) -> None:
        """Be woken like those that answer: a request must not wait for the end of somebody's turn."""
        self._set(computes=False)

    def _set(self, *, computes: bool) -> None:
        if sys.platform == "linux" and self._is_ours and computes != self._computes:
            self._computes = computes
            # A container may forbid it.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_BATCH if computes else os.SCHED_OTHER, os.sched_param(0))
