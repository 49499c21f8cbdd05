"""When a client reads too slowly."""

from __future__ import annotations

import pytest

from plugins.http.events import MAX_UNSENT_BYTES, Unsent
from transports.errors import SlowReader


def test_a_client_that_takes_everything_is_never_slow() -> None:
    unsent = Unsent(timeout_s=30)
    for now in range(0, 1000, 100):
        unsent.before_write(0, now)
        unsent.after_write(100)


def test_a_client_that_takes_a_little_each_time_is_not_slow() -> None:
    unsent = Unsent(timeout_s=30)
    unsent.after_write(1000)
    for i, now in enumerate(range(0, 200, 20)):
        unsent.before_write(1000 - i - 1, now)
        unsent.after_write(1000 - i - 1)


def test_a_client_that_takes_nothing_is_slow_after_the_timeout() -> None:
    unsent = Unsent(timeout_s=30)
    unsent.before_write(0, 0)
    unsent.after_write(100)
    unsent.before_write(100, 10)
    unsent.after_write(200)
    unsent.before_write(200, 40)
    unsent.after_write(300)

    with pytest.raises(SlowReader, match="30 s"):
        unsent.before_write(300, 40.1)


def test_too_much_unread_is_slow_at_once() -> None:
    unsent = Unsent(timeout_s=30)
    unsent.before_write(MAX_UNSENT_BYTES, 0)

    with pytest.raises(SlowReader, match="bytes unread"):
        unsent.before_write(MAX_UNSENT_BYTES + 1, 0)
