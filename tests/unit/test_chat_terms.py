"""What a chat says of thinking, for models whose chat template opens thoughts whatever it is told."""

from __future__ import annotations

from typing import Any

import pytest

from transports.messages import ChatMessage, ChatRequest, Delta, Grammar, Reasoning
from workers.generation.answers import AnswerFormat
from workers.generation.chat_terms import ChatTerms, terms_of
from workers.generation.thoughts import NO_THINKING, ThinkingTokens

START, END, WORD = 1, 2, 3
FORM = AnswerFormat("<think>", "</think>")
THINKING = ThinkingTokens((START,), (END,))
# As DeepSeek R1's template ends.
OPENED = [WORD, START, WORD]
SCHEMA = Grammar(kind="json_schema", text="{}")


class DeafPrompts:
    """Of a template that cannot be told anything."""

    shows_tools = True

    def told(self, tools: object, reasoning: Reasoning) -> dict[str, object]:
        return {}


def terms(thinking: ThinkingTokens = THINKING, **fields: Any) -> ChatTerms:
    body = ChatRequest(messages=(ChatMessage(role="user", content="x"),), **fields)
    return terms_of(body, DeafPrompts(), FORM, thinking)  # type: ignore[arg-type]


def test_thoughts_that_nobody_wants_end_at_once_and_are_no_text() -> None:
    of_chat = terms(reasoning=Reasoning(enabled=False))
    reader = of_chat.reader("r", OPENED)
    assert reader
    limit = of_chat.limit(reader)
    assert limit

    assert END == limit.forced(0)
    assert [Delta(id="r", text="Hi")] == [*reader.feed("</think>"), *reader.feed("\n\nHi")]


@pytest.mark.parametrize("reasoning", [Reasoning(), Reasoning(enabled=True)])
def test_thoughts_that_may_be_have_no_limit(reasoning: Reasoning) -> None:
    of_chat = terms(reasoning=reasoning)
    reader = of_chat.reader("r", OPENED)

    assert reader
    assert reader.is_thinking
    assert of_chat.limit(reader) is None


def test_a_grammar_begins_where_the_thoughts_would() -> None:
    of_chat = terms(reasoning=Reasoning(enabled=False), grammar=SCHEMA)
    reader = of_chat.reader("r", OPENED)

    assert reader
    assert not reader.is_thinking
    assert of_chat.limit(reader) is None


def test_a_model_that_does_not_think_has_no_limit() -> None:
    of_chat = terms(NO_THINKING, reasoning=Reasoning(enabled=False))
    reader = of_chat.reader("r", OPENED)

    assert reader
    assert of_chat.limit(reader) is None
