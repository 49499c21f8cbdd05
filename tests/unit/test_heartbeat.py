"""The kernel's clock leaves out what it slept through, and never goes back."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from kernel.actions import Action
from kernel.heartbeat import Heartbeat
from kernel.lost_requests import LostRequests
from kernel.peers import Peers
from transports.settings import KernelSettings


def heart() -> Heartbeat:
    """One that beats each second, first at 100."""
    actions: list[Action] = []
    nobody, nothing = cast(Peers, ()), cast(LostRequests, None)
    beats = Heartbeat(KernelSettings(heartbeat_s=1), nobody, nothing, actions.append)
    beats.start(100.0)
    return beats


def test_a_sleep_is_left_out() -> None:
    beats = heart()
    beats.tick(beats.awake(100.0))

    assert beats.awake(100.5) == 100.5
    assert beats.awake(700.5) == 101.0


def test_a_late_beat_is_no_sleep_when_something_else_was_seen_meanwhile() -> None:
    """100.9 and then 100.0: a bucket that was full at 100.9 looked empty, and its owner was cut off."""
    beats = heart()

    assert [beats.awake(now) for now in (100.9, 101.1, 101.2)] == [100.9, 101.1, 101.2]


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=30))
def test_it_never_goes_back(steps: list[tuple[float, bool]]) -> None:
    beats, now, seen = heart(), 100.0, []
    for passed_s, ticks in steps:
        now += passed_s
        seen.append(beats.awake(now))
        if ticks:
            beats.tick(seen[-1])

    assert all(before <= after for before, after in pairwise(seen))
