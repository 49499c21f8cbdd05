"""Time as the kernel lived it: while it was stopped or asleep it could hear nobody. Pure arithmetic."""

from __future__ import annotations


class AwakeClock:
    """Monotonic seconds less those in which the kernel stood still."""

    def __init__(self) -> None:
        self._asleep_s = 0.0

    def read(self, now: float, due_s: float, tolerance_s: float) -> float:
        """The awake time.

        Args:
            now: Monotonic seconds.
            due_s: Awake time at which we should have run at the latest.
            tolerance_s: Later than *due_s* by more than this means that we stood still.
        """
        late_s = now - self._asleep_s - due_s
        if late_s > tolerance_s:
            self._asleep_s += late_s
        return now - self._asleep_s

    def to_monotonic(self, awake_s: float) -> float:
        """When it will be *awake_s*, if we do not stand still again."""
        return awake_s + self._asleep_s
