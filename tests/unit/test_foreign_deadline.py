"""Foreign code is stopped when its time is over, and nothing else is."""

from __future__ import annotations

import signal
import time

import pytest

from workers.generation.deadline import within
from workers.generation.rendering import TemplateLimit, check_size, limited


class TooLateError(Exception):
    """Stands for the error of whoever sets a deadline."""


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_work_gives_what_it_gives() -> None:
    assert 7 == within(5.0, TooLateError(), lambda: 7)


def test_work_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TooLateError):
        within(0.01, TooLateError(), lambda: busy(5.0))


def test_work_is_not_stopped_because_the_machine_gave_it_no_time() -> None:
    def stand_still() -> int:
        time.sleep(0.05)
        return 7

    assert 7 == within(0.01, TooLateError(), stand_still)


def test_work_that_swallows_the_error_is_stopped_all_the_same() -> None:
    def stubborn() -> None:
        try:
            busy(5.0)
        except TooLateError:
            busy(5.0)

    with pytest.raises(TooLateError):
        within(0.01, TooLateError(), stubborn)


def test_a_signal_that_comes_behind_the_work_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the next one comes before the timer is stopped: seen as an end of the engine."""
    before = signal.getsignal(signal.SIGALRM)
    set_timer = signal.setitimer

    def late(which: int, seconds: float, again: float = 0.0) -> object:
        if not seconds:
            signal.raise_signal(signal.SIGALRM)
        return set_timer(which, seconds, again)

    monkeypatch.setattr(signal, "setitimer", late)

    assert within(0.0001, TooLateError(), lambda: None) is None
    with pytest.raises(TooLateError):
        within(0.01, TooLateError(), lambda: busy(5.0))
    assert (0.0, 0.0) == signal.getitimer(signal.ITIMER_REAL)
    assert before == signal.getsignal(signal.SIGALRM)


def test_a_template_makes_a_few_times_what_it_is_given_and_4_mb() -> None:
    limited(1000, lambda: check_size(4 * 1024**2 + 4000))

    with pytest.raises(TemplateLimit, match="more than 4198304 characters"):
        limited(1000, lambda: check_size(4 * 1024**2 + 4001))
