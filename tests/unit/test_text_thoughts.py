"""Where a model that thinks does so."""

from __future__ import annotations

import pytest

from workers.generation.thoughts import NO_THINKING, ThinkingTokens, ThoughtLimit, Thoughts

START, END, TEXT = 90, 91, 7
SINGLE = ThinkingTokens((START,), (END,))
LONG = ThinkingTokens((80, 81, 82), (85, 86))


def of_answer(tokens: ThinkingTokens, prompt: list[int], answer: list[int]) -> list[bool]:
    """For each token of an answer, whether it belongs to the thoughts."""
    thoughts = Thoughts(tokens, prompt)
    return [thoughts.feed(token) for token in answer]


@pytest.mark.parametrize(
    ("tokens", "prompt", "answer", "expected"),
    [
        (NO_THINKING, [1], [TEXT, START], [False, False]),
        # The template has opened the thoughts.
        (SINGLE, [1, START], [TEXT, START, END, TEXT], [True, True, True, False]),
        (SINGLE, [1, START, 5], [END, TEXT], [True, False]),
        # The model opens them, or does not.
        (SINGLE, [1], [START, TEXT, END, TEXT], [True, True, True, False]),
        (SINGLE, [1], [TEXT, START], [False, False]),
        # The template has opened and closed them: the request wants none.
        (SINGLE, [1, START, 5, END, 5], [START, TEXT], [False, False]),
        # Those of an earlier turn do not count.
        (SINGLE, [START, TEXT, END, 1, 2, 3, 4, 5], [START, END, TEXT], [True, True, False]),
        # Words about them do not count either.
        (SINGLE, [START, 1, 2, 3, 4, 5], [TEXT, START, TEXT], [False, False, False]),
        # Only once.
        (SINGLE, [1, START], [END, START, END], [True, False, False]),
        (LONG, [1], [80, 81, 82, TEXT, 85, 85, 86, TEXT], [True] * 7 + [False]),
        (LONG, [80, 81, 82], [85, 86, TEXT], [True, True, False]),
    ],
)
def test_thoughts_are_told_from_the_answer(
    tokens: ThinkingTokens, prompt: list[int], answer: list[int], expected: list[bool]
) -> None:
    assert of_answer(tokens, prompt, answer) == expected


def test_only_the_next_token_of_a_start_may_follow_its_beginning() -> None:
    thoughts = Thoughts(LONG, [1])

    assert thoughts.next_of_start == 80
    assert not thoughts.has_begun
    thoughts.feed(80)
    assert thoughts.next_of_start == 81
    assert thoughts.has_begun


def written(
    limit: ThoughtLimit, *, is_thinking: bool, opens_at: int | None = None, num: int = 8
) -> list[int | None]:
    """What is forced at each place of an answer, whose thoughts end with `END`.

    As in the engine, the token of a place is chosen before the one ahead of it is looked at.
    """
    forced: list[int | None] = []
    for place in range(num):
        forced.append(limit.forced(place))
        seen = place - 1
        if seen < 0:
            continue
        is_thinking = (is_thinking or seen == opens_at) and forced[seen] != END
        limit.follow(seen + 1, is_thinking=is_thinking)
    return forced


@pytest.mark.parametrize("max_tokens", [0, 1, 2, 5])
def test_thoughts_that_the_prompt_opened_get_exactly_so_many_tokens(max_tokens: int) -> None:
    forced = written(ThoughtLimit(max_tokens, (END,), is_thinking=True), is_thinking=True)

    assert forced == [END if place == max_tokens else None for place in range(8)]


@pytest.mark.parametrize(("max_tokens", "place"), [(0, 3), (1, 3), (3, 5)])
def test_thoughts_that_the_model_opens_get_at_least_one(max_tokens: int, place: int) -> None:
    """It opens them at place 1; place 2 is computed when that is seen."""
    forced = written(ThoughtLimit(max_tokens, (END,), is_thinking=False), is_thinking=False, opens_at=1)

    assert [at for at, token in enumerate(forced) if token == END] == [place]


def test_an_end_of_several_tokens_is_forced_one_by_one() -> None:
    limit = ThoughtLimit(2, (85, 86), is_thinking=True)

    assert [limit.forced(place) for place in range(5)] == [None, None, 85, 86, None]


def test_thoughts_that_end_by_themselves_are_left_alone() -> None:
    limit = ThoughtLimit(3, (END,), is_thinking=True)
    limit.follow(1, is_thinking=False)

    assert [limit.forced(place) for place in range(5)] == [None] * 5
