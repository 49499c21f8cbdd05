"""Chunks of long prompts are as large as their time allows beside running answers."""

from __future__ import annotations

import pytest

from workers.generation.pace import FIRST_TOKENS, MIN_TOKENS, PrefillPace

STEP_S = 0.075
SHARE = 1.8


def read(pace: PrefillPace, num_chunks: int, fixed_s: float, token_s: float) -> float:
    """How long the last of some chunks took."""
    for _ in range(num_chunks):
        num_tokens = pace.chunk_tokens
        seconds = fixed_s + num_tokens * token_s
        pace.step(STEP_S + seconds, num_tokens)
    return seconds


@pytest.fixture
def pace() -> PrefillPace:
    pace = PrefillPace(256, SHARE)
    for _ in range(10):
        pace.step(STEP_S, 0)
    return pace


@pytest.mark.parametrize(("fixed_s", "token_s"), [(0.07, 0.002), (0.0, 0.001), (0.1, 0.0005)])
def test_reading_takes_its_share(pace: PrefillPace, fixed_s: float, token_s: float) -> None:
    seconds = read(pace, 30, fixed_s, token_s)

    assert seconds == pytest.approx(SHARE * STEP_S, rel=0.1)


def test_where_reading_is_quick_chunks_are_as_large_as_they_may_be(pace: PrefillPace) -> None:
    read(pace, 5, 0.001, 0.00001)

    assert pace.chunk_tokens == 256


def test_where_reading_is_slow_it_still_goes_on(pace: PrefillPace) -> None:
    read(pace, 20, 1.0, 0.01)

    assert pace.chunk_tokens == MIN_TOKENS


def test_before_a_step_was_seen_nothing_is_learnt() -> None:
    pace = PrefillPace(256, SHARE)
    pace.step(1.0, 16)

    assert pace.chunk_tokens == FIRST_TOKENS


def test_without_a_share_chunks_are_as_large_as_they_may_be() -> None:
    pace = PrefillPace(256, 0)
    pace.step(0.075, 0)
    pace.step(9.0, 256)

    assert pace.chunk_tokens == 256
