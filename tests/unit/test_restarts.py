"""When a process that died is started again."""

from __future__ import annotations

from random import Random

import pytest

from kernel.restarts import JITTER, RestartPolicy
from transports.settings import KernelSettings

SETTINGS = KernelSettings()


@pytest.fixture
def policy() -> RestartPolicy:
    return RestartPolicy(SETTINGS, Random(0))


def loop(policy: RestartPolicy, now: float) -> float:
    """Crash again and again after having been ready for a moment; the time of the last crash."""
    while not policy.is_crash_looped:
        now += policy.crashed(now, now - 1) + 2
    return now


def test_the_first_restart_is_at_once_and_the_next_wait_longer_and_longer(policy: RestartPolicy) -> None:
    delays = [policy.crashed(1000.0 + i, 1000.0 + i - 0.5) for i in range(5)]

    assert delays[0] == 0
    assert [pytest.approx(delay, rel=JITTER) for delay in (0.5, 1, 2, 4)] == delays[1:]


def test_more_than_five_crashes_in_a_minute_are_a_loop(policy: RestartPolicy) -> None:
    for i in range(5):
        policy.crashed(1000.0 + i, 999.0 + i)
        assert not policy.is_crash_looped

    assert SETTINGS.crash_loop_retry_s == policy.crashed(1005, 1004)
    assert policy.is_crash_looped


def test_three_crashes_before_ready_are_a_loop(policy: RestartPolicy) -> None:
    delays = [policy.crashed(1000.0 + i, None) for i in range(3)]

    assert SETTINGS.crash_loop_retry_s == delays[-1]


@pytest.mark.parametrize("ready_for_s", [None, 0.5, SETTINGS.crash_window_s - 1])
def test_one_crash_after_the_long_wait_is_a_loop_again(
    policy: RestartPolicy, ready_for_s: float | None
) -> None:
    """However it began: its crashes are long ago by then, and yet it does not get six new tries."""
    now = loop(policy, 1000) + SETTINGS.crash_loop_retry_s + 60

    delay_s = policy.crashed(now, None if ready_for_s is None else now - ready_for_s)

    assert SETTINGS.crash_loop_retry_s == delay_s


def test_a_process_that_stays_ready_is_as_good_as_new(policy: RestartPolicy) -> None:
    now = loop(policy, 1000) + SETTINGS.crash_loop_retry_s

    delay_s = policy.crashed(now + SETTINGS.crash_window_s + 1, now + 1)

    assert delay_s == 0
    assert not policy.is_crash_looped
