"""Which connections are closed when, of peers of which nothing more is read."""

from __future__ import annotations

from kernel import outcasts
from kernel.outcasts import RESPITE_S, Outcasts


def test_one_is_told_why_before_its_connection_is_closed() -> None:
    found = Outcasts()
    found.add("a", 10)

    assert "a" in found
    assert not found.must_go("a", 10 + RESPITE_S / 2)
    assert found.must_go("a", 10 + RESPITE_S)


def test_what_came_before_the_close_does_not_close_again() -> None:
    found = Outcasts()
    found.add("a", 10)
    found.must_go("a", 11)

    assert not found.must_go("a", 11)
    assert found.must_go("a", 11 + 2 * RESPITE_S)


def test_so_many_are_remembered() -> None:
    found = Outcasts()
    for number in range(outcasts.MAX_REMEMBERED + 1):
        found.add(f"peer-{number}", number)

    assert "peer-0" not in found
    assert "peer-1" in found
