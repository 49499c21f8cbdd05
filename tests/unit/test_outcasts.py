"""Who is not heard for how long, and which of its connections are closed when."""

from __future__ import annotations

from kernel import outcasts
from kernel.outcasts import MAX_TERM_S, RESPITE_S, Outcasts

TERM_S = 30.0


def test_one_is_told_why_before_its_connection_is_closed() -> None:
    found = Outcasts(TERM_S)
    found.add("a", "process", 10)

    assert found.is_out("process", 10)
    assert not found.must_go("a", 10 + RESPITE_S / 2)
    assert found.must_go("a", 10 + RESPITE_S)


def test_a_connection_that_was_silent_is_closed_at_its_first_message() -> None:
    found = Outcasts(TERM_S)
    found.add("a", "process", 10)

    assert found.must_go("b", 10)


def test_what_came_before_the_close_does_not_close_again() -> None:
    found = Outcasts(TERM_S)
    found.add("a", "process", 10)
    found.must_go("a", 11)

    assert not found.must_go("a", 11)
    assert found.must_go("a", 11 + 2 * RESPITE_S)


def test_one_is_heard_again_after_its_term() -> None:
    found = Outcasts(TERM_S)
    found.add("a", "process", 10)

    assert found.is_out("process", 10 + TERM_S - 1)
    assert not found.is_out("process", 10 + TERM_S)
    assert not found.is_out("another", 10)


def test_each_further_term_is_twice_as_long_and_good_behaviour_counts() -> None:
    found = Outcasts(TERM_S)
    found.add("a", "process", 0)
    # Another connection of it, at the same time.
    found.add("b", "process", 0)
    found.add("c", "process", TERM_S)

    assert found.is_out("process", 3 * TERM_S - 1)
    assert not found.is_out("process", 3 * TERM_S)
    found.add("d", "process", 5 * TERM_S)
    assert not found.is_out("process", 6 * TERM_S)


def test_no_term_is_for_ever() -> None:
    found = Outcasts(TERM_S)
    found.add("a", "process", 0)
    until = TERM_S
    length = TERM_S
    for _ in range(10):
        found.add("a", "process", until)
        length = min(2 * length, MAX_TERM_S)
        until += length

    assert found.is_out("process", until - 1)
    assert not found.is_out("process", until)


def test_so_many_are_remembered() -> None:
    found = Outcasts(TERM_S)
    for number in range(outcasts.MAX_REMEMBERED + 1):
        found.add(f"peer-{number}", f"process-{number}", 0)

    assert not found.is_out("process-0", 1)
    assert found.is_out("process-1", 1)


def test_a_process_that_the_system_does_not_name_is_never_out() -> None:
    found = Outcasts(TERM_S)
    found.add("a", "a", 10)

    assert not found.is_out("", 10)
