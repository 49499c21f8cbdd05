"""Which rows an embedding worker computes together."""

from __future__ import annotations

import random

import pytest

from workers.embedding.batching import MIN_FILL, Batches, RowId


def numbers(rows: list[RowId]) -> list[int]:
    return [row.number for row in rows]


def test_rows_of_like_length_go_together_and_the_longest_first() -> None:
    batches = Batches(step_tokens=100)
    batches.add("a", [10, 50, 48, 9])

    steps = [numbers(batches.next()) for _ in range(2)]

    assert [[1, 2], [0, 3]] == steps
    assert not batches


def test_a_row_above_the_budget_goes_alone() -> None:
    batches = Batches(step_tokens=100)
    batches.add("a", [500, 400])

    assert [[0], [1]] == [numbers(batches.next()) for _ in range(2)]


def test_requests_share_a_step_and_take_turns() -> None:
    batches = Batches(step_tokens=20)
    batches.add("long", [10] * 6)
    batches.add("short", [10])

    steps = [[row.request_id for row in batches.next()] for _ in range(4)]

    assert [["long", "long"], ["short", "long"], ["long", "long"], ["long"]] == steps


def test_a_short_row_waits_for_a_step_of_its_own_kind() -> None:
    """Beside a long one it would be computed at the long one's length."""
    batches = Batches(step_tokens=1000)
    batches.add("long", [100])
    batches.add("short", [10])

    assert ["long"] == [row.request_id for row in batches.next()]
    assert ["short"] == [row.request_id for row in batches.next()]


def test_what_is_removed_is_not_computed() -> None:
    batches = Batches(step_tokens=20)
    batches.add("a", [10] * 6)
    batches.add("b", [10])

    batches.remove("a")
    batches.remove("unknown")

    assert [RowId("b", 0)] == batches.next()
    assert [] == batches.next()


def test_separated_requests_share_no_step() -> None:
    batches = Batches(step_tokens=100)
    batches.add("a", [10])
    batches.add("b", [10])
    failed = batches.next()

    batches.put_back([(row, 10) for row in failed])
    batches.separate(["a", "b"])

    assert [["a"], ["b"]] == [[row.request_id for row in batches.next()] for _ in range(2)]


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_taken_once_within_the_budget_and_soon(seed: int) -> None:
    dice = random.Random(seed)
    step_tokens = dice.choice([64, 256, 1024])
    batches = Batches(step_tokens)
    lengths: dict[str, list[int]] = {}
    seen: set[RowId] = set()
    waited: dict[str, int] = {}
    for turn in range(400):
        if len(lengths) < 12 and dice.random() < 0.3:
            name = f"r{turn}"
            lengths[name] = [dice.randint(1, 300) for _ in range(dice.randint(1, 40))]
            batches.add(name, lengths[name])
            waited[name] = 0
        rows = batches.next()
        assert not seen.intersection(rows), seed
        seen.update(rows)
        sizes = [lengths[row.request_id][row.number] for row in rows]
        assert not rows or len(rows) == 1 or max(sizes) * len(rows) <= step_tokens, seed
        assert not rows or min(sizes) >= MIN_FILL * max(sizes), seed
        waiting = [
            name for name in lengths if any(RowId(name, n) not in seen for n in range(len(lengths[name])))
        ]
        for name in waiting:
            waited[name] = 0 if any(row.request_id == name for row in rows) else waited[name] + 1
            # Everybody's turn comes, however many rows others have.
            assert waited[name] <= len(lengths), seed
    while rows := batches.next():
        seen.update(rows)

    assert seen == {RowId(name, n) for name, sizes in lengths.items() for n in range(len(sizes))}
