"""Flags of `mlxd run` and `/set` of `mlxd chat` as a request has them."""

from __future__ import annotations

import pytest

from plugins.cli.generation import chat_request, parse_option
from transports.messages import ChatMessage, Reasoning

MESSAGES = (ChatMessage(role="user", content="Why?"),)


@pytest.mark.parametrize(
    ("options", "reasoning"),
    [
        ({}, Reasoning()),
        ({"reasoning_effort": "none"}, Reasoning(enabled=False, effort="none")),
        ({"reasoning_effort": "low"}, Reasoning(enabled=True, effort="low")),
        ({"thinking_budget": 20}, Reasoning(max_tokens=20)),
    ],
)
def test_whether_a_model_thinks_is_the_persons_word(options: dict[str, object], reasoning: Reasoning) -> None:
    request = chat_request(MESSAGES, {**options, "top_k": 3})

    assert request.reasoning == reasoning
    assert request.sampling.top_k == 3


def test_a_wrong_value_is_told_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match='one of high, low, medium, minimal, none, xhigh, got "lots"'):
        parse_option("reasoning_effort", "lots")
