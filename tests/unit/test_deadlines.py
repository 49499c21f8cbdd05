"""Deadlines by key: the earliest first, and nothing left of those that are gone."""

from __future__ import annotations

from random import Random

from kernel.deadlines import MAX_STALE, Deadlines


def test_what_is_due_comes_in_order_and_once() -> None:
    deadlines = Deadlines()
    for key, due_s in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        deadlines.set(key, due_s)

    assert deadlines.next_s() == 1.0
    assert deadlines.pop_due(2.0) == ["a", "b"]
    assert deadlines.pop_due(2.0) == []
    assert deadlines.next_s() == 3.0


def test_a_later_deadline_takes_the_place_of_the_earlier() -> None:
    deadlines = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("a", 5.0)

    assert deadlines.next_s() == 5.0
    assert deadlines.pop_due(4.0) == []
    assert deadlines.pop_due(5.0) == ["a"]


def test_random_schedules_agree_with_a_plain_list() -> None:
    random, deadlines, plain = Random(1), Deadlines(), {}
    for now in range(2000):
        key = str(random.randrange(50))
        if random.random() < 0.6:
            plain[key] = now + random.randrange(100)
            deadlines.set(key, plain[key])
        else:
            plain.pop(key, None)
            deadlines.discard(key)
        due = sorted((due_s, key) for key, due_s in plain.items() if due_s <= now)
        for _, key in due:
            del plain[key]
        assert deadlines.pop_due(now) == [key for _, key in due]
        assert deadlines.next_s() == min(plain.values(), default=None)


def test_deadlines_that_nobody_waits_for_take_no_memory() -> None:
    deadlines = Deadlines()
    for number in range(10_000):
        deadlines.set(str(number), 1e9 + number)
        deadlines.discard(str(number))

    assert len(deadlines._heap) <= MAX_STALE + 2
