"""Requests in a minute, client by client."""

from __future__ import annotations

import pytest

from kernel.ratelimit import RateLimiter
from transports.buckets import MAX_REMEMBERED
from transports.errors import RateLimited

A, B = ("peer", "a"), ("peer", "b")


def test_a_minutes_requests_may_come_at_once_and_then_no_more() -> None:
    limiter = RateLimiter(7)
    for _ in range(7):
        limiter.check(A, 100.3)

    with pytest.raises(RateLimited) as refused:
        limiter.check(A, 100.3)
    assert refused.value.retry_after_s == pytest.approx(60 / 7)
    limiter.check(B, 100.3)


def test_one_more_may_come_as_soon_as_was_said() -> None:
    limiter = RateLimiter(6)
    for _ in range(6):
        limiter.check(A, 0)
    with pytest.raises(RateLimited):
        limiter.check(A, 9)

    limiter.check(A, 10)


def test_no_limit_counts_nothing() -> None:
    limiter = RateLimiter(0)
    for _ in range(1000):
        limiter.check(A, 0)

    assert len(limiter) == 0


def test_clients_that_are_long_gone_are_forgotten() -> None:
    limiter = RateLimiter(60)
    for number in range(3 * MAX_REMEMBERED):
        limiter.check(("peer", str(number)), 0)
    assert len(limiter) == MAX_REMEMBERED

    limiter.check(A, 61)
    assert len(limiter) == 1
