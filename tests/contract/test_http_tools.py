"""Tools, their calls and thoughts over HTTP: what the worker gets, and OpenAI's shapes of what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from http_harness import MODEL, THINKS, USAGE, Reply, chat_body, open_door

from plugins.client import Submission
from plugins.tool_schemas import MAX_SCHEMA_BYTES
from transports.envelope import Message
from transports.messages import Delta, Done, Reasoning, ReasoningDelta
from transports.tools import Tool, ToolCall, ToolCallBegin, ToolCallDelta, ToolCallEnd, ToolChoice

USER = {"role": "user", "content": "x"}
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
LOOK: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA},
}
ADD = {"type": "function", "function": {"name": "add", "strict": True}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def calls(submission: Submission, _: Message) -> None:
    """Thinks, says a word, calls two tools; a third call is broken."""
    id_ = submission.id
    for item in (
        ReasoningDelta(id=id_, text="Hm."),
        Delta(id=id_, text="Look: "),
        ToolCallBegin(id=id_, index=0, call_id="callAAAAA", name="look"),
        ToolCallDelta(id=id_, index=0, arguments='{"at":'),
        ToolCallDelta(id=id_, index=0, arguments='"é"}'),
        ToolCallEnd(id=id_, index=0),
        ToolCallBegin(id=id_, index=1, call_id="callBBBBB", name="look"),
        ToolCallDelta(id=id_, index=1, arguments="{"),
        ToolCallEnd(id=id_, index=1, is_broken=True),
        Delta(id=id_, text="<tool_call>{"),
        ToolCallBegin(id=id_, index=2, call_id="callCCCCC", name="add"),
        ToolCallDelta(id=id_, index=2, arguments="{}"),
        ToolCallEnd(id=id_, index=2),
        Done(id=id_, finish_reason="tool_calls", usage=USAGE),
    ):
        submission.put(item)


def called(id_: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


# Path -> a body with a tool of this schema, and what the body calls that.
DOORS: dict[str, tuple[Callable[[object], dict[str, Any]], str]] = {
    "/v1/chat/completions": (
        lambda schema: chat_body(tools=[{**LOOK, "function": {**LOOK["function"], "parameters": schema}}]),
        "tools[0].function.parameters",
    ),
    "/v1/responses": (
        lambda schema: {
            "model": MODEL,
            "input": "x",
            "tools": [{"type": "function", "name": "look", "parameters": schema}],
        },
        "tools[0].parameters",
    ),
    "/v1/messages": (
        lambda schema: chat_body(max_tokens=9, tools=[{"name": "look", "input_schema": schema}]),
        "tools[0].input_schema",
    ),
}


@pytest.mark.parametrize("path", DOORS)
async def test_a_schema_is_an_object_of_so_many_bytes_through_every_door(path: str) -> None:
    body, param = DOORS[path]
    # Of two bytes each.
    letters = MAX_SCHEMA_BYTES // 2
    fitting = {"title": "é" * (letters - 100)}
    refused = {"bytes, got ": {"title": "é" * letters}, "a JSON Schema, an object": [1]}
    async with open_door() as door:

        async def post(schema: object) -> Reply:
            return await door.post(path, json.dumps(body(schema), ensure_ascii=False).encode())

        good = await post(fitting)
        replies = {reason: await post(schema) for reason, schema in refused.items()}

    assert good.status == 200
    for reason, reply in replies.items():
        message = reply.json["error"]["message"]
        assert reply.status == 400
        assert message.startswith(f"{param}: expected ")
        assert reason in message
    assert len(door.client.submitted) == 1


async def test_tools_reach_the_worker():
    async with open_door() as door:
        await door.chat(tools=[LOOK, ADD], parallel_tool_calls=False)

    look, add = door.client.body.tools
    assert ("look", "Looks.", SCHEMA) == (look.name, look.description, json.loads(look.parameters))
    assert Tool(name="add", strict=True) == add
    assert not door.client.body.parallel_tool_calls


@pytest.mark.parametrize(
    ("choice", "expected", "tools"),
    [
        (None, ToolChoice(), "look add"),
        ("auto", ToolChoice(), "look add"),
        ("none", ToolChoice(mode="none"), "look add"),
        ("required", ToolChoice(mode="required"), "look add"),
        (
            {"type": "function", "function": {"name": "add"}},
            ToolChoice(mode="required", name="add"),
            "look add",
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [ADD]}},
            ToolChoice(mode="required"),
            "add",
        ),
    ],
)
async def test_which_tools_are_called_reaches_the_worker(choice, expected, tools):
    async with open_door() as door:
        reply = await door.chat(tools=[LOOK, ADD], tool_choice=choice)

    assert 200 == reply.status
    assert expected == door.client.body.tool_choice
    assert tools.split() == [tool.name for tool in door.client.body.tools]


async def test_calls_results_and_thoughts_of_earlier_turns_reach_the_worker():
    call = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Hm.",
        "tool_calls": [called("1", "f", "{}")],
    }
    picture = {"type": "image_url", "image_url": {"url": PIXEL}}
    result = {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "4"}]}
    async with open_door() as door:
        reply = await door.chat(messages=[USER, call, result])
        of_text = door.client.body.messages
        refused = await door.chat(messages=[USER, call, {**result, "content": [picture]}])

    assert 200 == reply.status
    assert (ToolCall(id="1", name="f", arguments="{}"),) == of_text[1].tool_calls
    assert ("", "Hm.") == (of_text[1].content, of_text[1].reasoning)
    assert ("tool", "1", "4") == (of_text[2].role, of_text[2].tool_call_id, of_text[2].content)
    # A picture of a tool is one like others: this model takes none.
    assert "messages[2].content[0].image_url" == refused.error["param"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Reasoning()),
        ({"reasoning_effort": "low"}, Reasoning(enabled=True, effort="low")),
        ({"reasoning_effort": "none"}, Reasoning(enabled=False, effort="none")),
        ({"chat_template_kwargs": {"enable_thinking": False}}, Reasoning(enabled=False)),
        ({"chat_template_kwargs": {"thinking": True}}, Reasoning(enabled=True)),
        ({"reasoning_effort": "max"}, Reasoning(enabled=True, effort="xhigh")),
        ({"thinking_budget": 0}, Reasoning(max_tokens=0)),
        ({"chat_template_kwargs": {"thinking_budget": 5}}, Reasoning(max_tokens=5)),
    ],
)
async def test_how_long_it_thinks_reaches_the_worker(fields, expected):
    async with open_door() as door:
        door.client.more_models = (THINKS,)
        reply = await door.chat(model=THINKS.name, **fields)

    assert (200, expected) == (reply.status, door.client.body.reasoning)


async def test_a_whole_answer_has_its_calls():
    async with open_door() as door:
        door.client.script = calls
        reply = await door.chat(tools=[LOOK, ADD])

    (choice,) = reply.json["choices"]
    assert "tool_calls" == choice["finish_reason"]
    assert {
        "role": "assistant",
        "content": "Look: <tool_call>{",
        "refusal": None,
        "reasoning_content": "Hm.",
        "tool_calls": [called("callAAAAA", "look", '{"at":"é"}'), called("callCCCCC", "add", "{}")],
    } == choice["message"]
    assert {"reasoning_tokens": 1} == reply.json["usage"]["completion_tokens_details"]


async def test_an_answer_of_calls_alone_has_null_for_content():
    def call(submission: Submission, _: Message) -> None:
        for item in (
            ToolCallBegin(id=submission.id, index=0, call_id="callAAAAA", name="add"),
            ToolCallDelta(id=submission.id, index=0, arguments="{}"),
            ToolCallEnd(id=submission.id, index=0),
            Done(id=submission.id, finish_reason="tool_calls", usage=USAGE),
        ):
            submission.put(item)

    async with open_door() as door:
        door.client.script = call
        reply = await door.chat(tools=[ADD])

    assert reply.json["choices"][0]["message"]["content"] is None


async def test_calls_are_streamed_as_openai_does():
    async with open_door() as door:
        door.client.script = calls
        reply = await door.chat(tools=[LOOK, ADD], stream=True)

    deltas = [chunk["choices"][0]["delta"] for chunk in reply.events[:-2]]
    assert [
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "Hm."},
        {"content": "Look: "},
        {"tool_calls": [{"index": 0, **called("callAAAAA", "look", "")}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"é"}'}}]},
        {"tool_calls": [{"index": 1, **called("callBBBBB", "look", "")}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]},
        {"content": "<tool_call>{"},
        {"tool_calls": [{"index": 2, **called("callCCCCC", "add", "")}]},
        {"tool_calls": [{"index": 2, "function": {"arguments": "{}"}}]},
    ] == deltas
    assert "tool_calls" == reply.events[-2]["choices"][0]["finish_reason"]


async def test_tools_that_nobody_could_call_may_be_left_out():
    async with open_door(ignore_unusable_fields=True) as door:
        left_out = await door.chat(tools=[LOOK], metadata={})
        without = door.client.body.tools
        forced = await door.chat(tools=[LOOK], tool_choice="required")
        with_tools = door.client.body.tools
        unasked = await door.chat()

    assert (200, "metadata, tools", ()) == (left_out.status, left_out.headers["x-mlxd-ignored"], without)
    assert (200, 1) == (forced.status, len(with_tools))
    assert "x-mlxd-ignored" not in unasked.headers


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"reasoning_effort": "max", "thinking_budget": 5}, "reasoning_effort"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs.enable_thinking"),
        ({"chat_template_kwargs": {"thinking": True}}, "chat_template_kwargs.thinking"),
        ({"chat_template_kwargs": {"reasoning_effort": "high"}}, "chat_template_kwargs.reasoning_effort"),
    ],
)
async def test_thoughts_of_a_model_that_has_none_are_refused_or_left_out(fields, param):
    async with open_door() as door:
        refused = await door.chat(**fields)
        submitted = door.client.submitted
    async with open_door(ignore_unusable_fields=True) as door:
        ignored = await door.chat(**fields)

    assert (400, "task_not_supported", param) == (
        refused.status,
        refused.error["code"],
        refused.error["param"],
    )
    assert f"{param}: {MODEL} never thinks" in refused.error["message"]
    assert "http.ignore_unusable_fields" in refused.error["message"]
    assert submitted == []
    assert (200, param) == (ignored.status, ignored.headers["x-mlxd-ignored"].partition(",")[0])


@pytest.mark.parametrize(
    ("model", "fields", "ignored"),
    [
        # It does not think anyway.
        (MODEL, {"reasoning_effort": "none", "thinking_budget": 5}, None),
        (MODEL, {"reasoning_effort": "minimal"}, None),
        (MODEL, {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": False}}, None),
        (MODEL, {"thinking_budget": 0}, None),
        # No thoughts are within any bound.
        (MODEL, {"thinking_budget": 5}, "thinking_budget"),
        (MODEL, {"chat_template_kwargs": {"thinking_budget": 5}}, "chat_template_kwargs.thinking_budget"),
        (THINKS.name, {"reasoning_effort": "high", "thinking_budget": 5}, None),
        # Why it does not answer is for the kernel to say.
        ("of/no/kind", {"reasoning_effort": "high"}, None),
        ("no/such", {"reasoning_effort": "high"}, None),
    ],
)
async def test_what_a_model_without_thoughts_obeys_is_answered(model, fields, ignored):
    async with open_door() as door:
        door.client.more_models = (THINKS,)
        reply = await door.chat(model=model, **fields)

    assert reply.status == 200
    assert reply.headers.get("x-mlxd-ignored") == ignored
