"""Keys and values in bytes, from caches that look like mlx-lm's."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from workers.generation.kv_memory import KvBudget, KvSizes, is_full


@dataclass
class Cache:
    """Of 2 heads with 4 numbers of 4 bytes, keys and values: 64 bytes a token."""

    places: int
    # A number for one sequence; in a batch the place of each row.
    offset: Any = 0
    step: int = 256
    keys: Any = field(init=False)

    def __post_init__(self) -> None:
        self.keys = SimpleNamespace(shape=(1, 2, self.places, 4))

    @property
    def nbytes(self) -> int:
        return self.places * 64


@dataclass
class Window(Cache):
    max_size: int = 512


@dataclass
class BatchCache(Cache):
    _idx: int = 0


@dataclass
class State:
    """A recurrent layer's."""

    nbytes: int = 1000


def test_a_row_is_as_long_as_the_longest_and_grows_by_a_step() -> None:
    sizes = KvSizes.of([Cache(256), Cache(256)])

    assert sizes.batch([100]) == 2 * 64 * (100 + 256)
    assert sizes.batch([100, 1000, 7]) == 3 * 2 * 64 * (1000 + 256)
    assert sizes.batch([]) == 0


def test_a_window_stops_growing_but_for_the_chunk_that_is_read() -> None:
    sizes = KvSizes.of([Window(256)])

    assert sizes.batch([100]) == 64 * (100 + 256)
    assert sizes.batch([9000], 128) == 64 * (512 + 128)


def test_a_state_does_not_grow() -> None:
    assert KvSizes.of([State(), State()]).batch([5000, 1]) == 2 * 2000


def test_caches_of_a_list_count_each_for_itself() -> None:
    both = SimpleNamespace(caches=(Cache(256), State()))

    assert KvSizes.of([both]) == KvSizes(token_bytes=64, row_bytes=1000, step_tokens=256)


def test_quantised_keys_are_measured_too() -> None:
    cache = Cache(256)
    cache.keys = (cache.keys, None, None)

    assert KvSizes.of([cache]).token_bytes == 64


@pytest.mark.parametrize(("length", "full"), [(255, False), (256, True)])
def test_a_cache_without_a_free_place_is_full(length: int, full: bool) -> None:
    assert is_full([State(), Window(9), Cache(256, offset=length)]) == full
    assert is_full([BatchCache(256, offset=object(), _idx=length)]) == full


def test_nothing_is_full_that_does_not_grow() -> None:
    assert not is_full([])
    assert not is_full([State()])


def test_rows_are_counted_apart_while_they_read_and_together_when_they_decode() -> None:
    budget = KvBudget(KvSizes(token_bytes=1, step_tokens=10), 1000, 50)

    # A long prompt beside short answers: all will be as long.
    assert budget.needed([20, 20], [200]) == 3 * 210
    # Prompts that are read together are filled up to the longest chunk.
    assert budget.needed([], [200, 30]) == 2 * (200 + 50 + 10)
    assert budget.needed([], [30, 20]) == 2 * (30 + 30 + 10)


def test_what_rows_leave_may_be_less_than_nothing() -> None:
    budget = KvBudget(KvSizes(token_bytes=1, step_tokens=10), 100, 256)

    assert budget.left([20, 20], []) == 40
    assert budget.left([41, 20], []) == -2
