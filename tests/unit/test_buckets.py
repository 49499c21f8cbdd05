"""Buckets hold so much and leak; whoever uses one for bytes may pour in more than it holds, or nothing."""

from __future__ import annotations

import pytest

from transports.buckets import Buckets


def test_more_than_a_bucket_holds_makes_the_next_wait() -> None:
    buckets: Buckets[str] = Buckets(holds_s=1.0)

    assert buckets.put("a", 100, 10, amount=300) == 0
    assert buckets.put("a", 100, 10) == pytest.approx(2.01)
    assert buckets.put("b", 100, 10) == 0
    assert buckets.put("a", 100, 12.02) == 0


def test_nothing_may_be_poured_in() -> None:
    buckets: Buckets[str] = Buckets(holds_s=1.0)

    assert buckets.put("a", 100, 10, amount=0) == 0
    assert buckets.is_empty("a", 10)
