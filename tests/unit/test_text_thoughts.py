"""Where a model that thinks does so."""

from __future__ import annotations

import pytest

from workers.generation.thoughts import NO_THINKING, ThinkingTokens, Thoughts

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
