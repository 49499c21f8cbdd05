"""Two dead workers convict a request; a good end, or time, clears it."""

from __future__ import annotations

from kernel import quarantine
from kernel.quarantine import Quarantine


def test_one_strike_makes_a_suspect_and_two_convict() -> None:
    records = Quarantine(600)

    records.strike(["x"], 0)
    assert records.is_suspect("x", 1)
    assert records.verdict("x", 1) is None
    records.strike(["x"], 100)

    verdict = records.verdict("x", 150)
    assert verdict is not None
    assert verdict.http_status == 422
    assert "550 s" in verdict.message


def test_the_same_request_twice_in_one_worker_is_one_strike() -> None:
    records = Quarantine(600)
    records.strike(["x", "x", "y"], 0)

    assert records.verdict("x", 1) is None


def test_a_request_without_fingerprint_is_never_suspected() -> None:
    records = Quarantine(600)
    records.strike([""], 0)
    records.strike([""], 0)

    assert not records.is_suspect("", 1)


def test_a_good_end_clears_the_strike() -> None:
    records = Quarantine(600)
    records.strike(["x"], 0)
    records.clear("x")
    records.strike(["x"], 10)

    assert records.verdict("x", 11) is None


def test_time_clears_strikes() -> None:
    records = Quarantine(600)
    records.strike(["x"], 0)
    records.strike(["x"], 0)

    assert records.verdict("x", 599.9) is not None
    assert records.verdict("x", 600) is None
    assert not records.is_suspect("x", 600)


def test_strikes_that_count_no_more_take_no_memory() -> None:
    records = Quarantine(600)
    for minute in range(100):
        records.strike([f"x{minute}", f"y{minute}"], minute * 60.0)

    assert len(records) == 20


def test_a_quarantine_of_no_length_suspects_nobody() -> None:
    records = Quarantine(0)
    records.strike(["x"], 0)

    assert not records.is_suspect("x", 0)


def test_no_more_are_remembered_than_allowed() -> None:
    records = Quarantine(600)
    for number in range(3 * quarantine.MAX_REMEMBERED):
        records.strike([str(number)], number / 1000)

    assert len(records) == quarantine.MAX_REMEMBERED
    assert not records.is_suspect("0", 10)
