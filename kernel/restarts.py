"""When a process that died is started again, and when no more. Pure arithmetic on times."""

from __future__ import annotations

from collections import deque
from random import Random

from transports.settings import KernelSettings

# Restarts of many processes must not fall together.
JITTER = 0.2


class RestartPolicy:
    """Of one process: at once, then after growing delays, then half open: one try after each long wait.

    A process that stays ready for `crash_window_s` is as good as new.
    """

    def __init__(self, settings: KernelSettings, random: Random) -> None:
        self._settings = settings
        self._random = random
        # Times of the crashes since the last good stretch.
        self._crashes_s: deque[float] = deque(maxlen=settings.max_crashes + 1)
        self._num_start_crashes = 0
        self.num_restarts = 0
        self.is_crash_looped = False

    def crashed(self, now: float, ready_since_s: float | None) -> float:
        """Note a crash.

        Args:
            now: Monotonic seconds.
            ready_since_s: When the process became ready; None if it never did.

        Returns:
            Seconds to wait before the next start. `is_crash_looped` says whether that is the long wait.
        """
        settings = self._settings
        stayed_ready = ready_since_s is not None and now - ready_since_s >= settings.crash_window_s
        if stayed_ready:
            self._crashes_s.clear()
        self._num_start_crashes = self._num_start_crashes + 1 if ready_since_s is None else 0
        self._crashes_s.append(now)
        self.num_restarts += 1
        recent = [crash for crash in self._crashes_s if now - crash <= settings.crash_window_s]
        # It was half open: that the crashes before are long ago is the long wait's doing.
        failed_its_try = self.is_crash_looped and not stayed_ready
        self.is_crash_looped = (
            failed_its_try
            or len(recent) > settings.max_crashes
            or self._num_start_crashes >= settings.max_start_crashes
        )
        if self.is_crash_looped:
            return settings.crash_loop_retry_s
        if len(recent) == 1:
            return 0.0
        delay_s = settings.restart_first_delay_s * 2.0 ** (len(recent) - 2)
        return min(delay_s, settings.restart_max_delay_s) * self._random.uniform(1 - JITTER, 1 + JITTER)
