"""The echo engine calls tools and thinks as it is told, through the reader that real models have."""

from __future__ import annotations

import pytest

from transports.errors import RequestError, TaskNotSupported
from transports.messages import ChatMessage, ChatRequest, Delta, Done, Grammar, Item, ReasoningDelta
from transports.tools import Tool, ToolCallBegin, ToolCallDelta, ToolChoice
from workers.echo import EchoConfig, EchoEngine

CALL = '<tool_call>{"name": "look", "arguments": {"at": "here"}}</tool_call>'
TOOLS = (Tool(name="look", parameters='{"type": "object"}'),)


def answer(
    text: str, *, script: dict[str, str] | None = None, grammars: bool = False, **fields: object
) -> list[Item]:
    body = ChatRequest(messages=(ChatMessage(role="user", content=text),), **fields)  # type: ignore[arg-type]
    engine = EchoEngine(EchoConfig(model_type="echo", script=script or {}, grammars=grammars))
    engine.add("request-1", "chat", body, ())
    items: list[Item] = []
    while engine.has_work():
        items += engine.step()  # type: ignore[arg-type]
    return items


def end(items: list[Item]) -> Done:
    last = items[-1]
    assert isinstance(last, Done)
    return last


def test_a_call_ends_the_answer_with_tool_calls() -> None:
    items = answer(f"Let me see. {CALL}", tools=TOOLS)

    assert ["look"] == [item.name for item in items if isinstance(item, ToolCallBegin)]
    assert '{"at": "here"}' == "".join(i.arguments for i in items if isinstance(i, ToolCallDelta))
    assert "tool_calls" == end(items).finish_reason


@pytest.mark.parametrize("fields", [{}, {"tools": TOOLS, "tool_choice": ToolChoice(mode="none")}])
def test_without_tools_a_call_is_text(fields: dict[str, object]) -> None:
    items = answer(CALL, **fields)

    assert CALL == "".join(item.text for item in items if isinstance(item, Delta))
    assert "stop" == end(items).finish_reason


def test_a_script_says_what_is_answered() -> None:
    items = answer("weather?", script={"weather": CALL}, tools=TOOLS)

    assert "tool_calls" == end(items).finish_reason


def test_a_script_may_be_for_requests_with_a_grammar() -> None:
    grammar = Grammar(kind="regex", text="[0-9]")

    items = answer("x", script={"x": "7"}, grammars=True, grammar=grammar)

    assert "7" == "".join(item.text for item in items if isinstance(item, Delta))
    with pytest.raises(TaskNotSupported):
        answer("x", script={"x": "7"}, grammar=grammar)


def test_max_tokens_within_a_call_leaves_text() -> None:
    items = answer(CALL, tools=TOOLS, max_tokens=4)

    assert "length" == end(items).finish_reason
    assert '<tool_call>{"name": "look", "arguments": {"at":' == "".join(
        item.text for item in items if isinstance(item, Delta)
    )


def test_one_call_is_enough_where_there_may_be_only_one() -> None:
    items = answer(CALL + " " + CALL, tools=TOOLS, parallel_tool_calls=False)

    assert 1 == len([item for item in items if isinstance(item, ToolCallBegin)])
    assert "tool_calls" == end(items).finish_reason


def test_tokens_of_thought_are_counted() -> None:
    items = answer("<think> one two </think> three", top_logprobs=0)

    assert "one two" == "".join(item.text for item in items if isinstance(item, ReasoningDelta))
    assert 4 == end(items).usage.reasoning_tokens
    assert ["three"] == [i.logprobs[0].token.strip() for i in items if isinstance(i, Delta) and i.logprobs]


@pytest.mark.parametrize("schema", ["{", "[]", "1", "[" * 100_000])
def test_a_schema_that_is_no_object_is_the_callers_fault(schema: str) -> None:
    with pytest.raises(RequestError) as caught:
        answer("x", tools=(Tool(name="f", parameters=schema),))

    assert "tools[0].parameters" == caught.value.param
