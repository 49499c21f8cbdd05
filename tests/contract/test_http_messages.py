"""Anthropic's routes over HTTP: what the worker gets, streams, counts, and errors whoever refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from http_harness import MODEL, THINKS, USAGE, FakeClient, Reply, fail, open_door, say, say_nothing

from plugins.client import Submission
from plugins.keys import Key, change_keys, digest_of
from transports.envelope import Message
from transports.errors import (
    ContextLengthExceeded,
    KernelUnavailable,
    MlxdError,
    ModelNotFound,
    QueueFull,
    QueueTimeout,
    WorkerCrashed,
)
from transports.messages import Delta, Prefill, Progress, Reasoning
from transports.reports import ModelInfo
from transports.tools import ToolCallBegin, ToolCallDelta, ToolChoice

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
USER = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
LOOK = {
    "name": "look",
    "description": "Looks.",
    "input_schema": SCHEMA,
    "cache_control": {"type": "ephemeral"},
}
BASH = {"type": "bash_20250124", "name": "bash"}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
EYES = ModelInfo(
    name="eyes", kind="vision", state="ready", source="demo", created=1, modalities=("text", "image")
)


def body(**fields: object) -> dict[str, object]:
    return {"model": MODEL, "max_tokens": 10, "messages": [USER], **fields}


def error(reply: Reply) -> dict[str, Any]:
    """Anthropic's error; its shape and names are checked."""
    whole: dict[str, Any] = reply.json
    assert {"type", "error", "request_id"} == set(whole)
    assert "error" == whole["type"]
    assert whole["request_id"] == reply.headers["request-id"]
    assert whole["request_id"].startswith("req_")
    found: dict[str, Any] = whole["error"]
    return found


def names(reply: Reply) -> list[str]:
    """The names of a stream's events."""
    return [line[7:] for line in reply.body.decode().split("\n") if line.startswith("event: ")]


async def test_a_message_whole():
    async with open_door() as door:
        reply = await door.post(f"{PATH}?beta=true", body(), anthropic_version="2023-06-01")

    assert 200 == reply.status
    assert {
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Hello world", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }.items() <= reply.json.items()
    assert reply.json["id"].startswith("msg_")
    assert reply.headers["request-id"].startswith("req_")


async def test_a_message_streamed():
    def read_slowly(submission: Submission, asked: Message) -> None:
        submission.put(Progress(phase="load"))
        submission.put(Prefill(id=submission.id, num_done=1, num_total=7))
        say("Hello", " world")(submission, asked)

    client = FakeClient()
    client.script = read_slowly
    async with open_door(client) as door:
        reply = await door.post(PATH, body(stream=True))

    assert "text/event-stream; charset=utf-8" == reply.headers["content-type"]
    assert [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ] == names(reply)
    assert 7 == reply.events[0]["message"]["usage"]["input_tokens"]
    assert USAGE.completion_tokens == reply.events[-2]["usage"]["output_tokens"]
    # Anthropic's type of it has none.
    assert "service_tier" not in reply.events[-2]["usage"]


async def test_what_is_said_while_it_waits():
    """Why, as a comment; and once the answer has begun, pings."""
    client = FakeClient()
    client.script = say_nothing
    async with open_door(client, sse_keepalive_s=0.05) as door:
        connection = await door.raw(door.bytes_of("POST", PATH, body(stream=True)))
        await client.wait_for(lambda: client.submitted)
        submission = client.submitted[0][0]
        submission.put(Progress(phase="queued", position=2))
        waiting = await connection.until(b"position 2\n\n")
        submission.put(Prefill(id=submission.id, num_done=1, num_total=2))
        begun = await connection.until(b"event: ping\n")
        connection.close()
        await client.wait_for(lambda: client.cancelled)

    assert b"event:" not in waiting
    assert b"event: message_start\n" in begun


async def test_all_that_counts_reaches_the_worker():
    async with open_door() as door:
        reply = await door.post(
            PATH,
            body(
                system="Be brief.",
                temperature=0.5,
                top_p=0.9,
                top_k=4,
                stop_sequences=["END"],
                thinking={"type": "enabled", "budget_tokens": 1024},
                output_config={"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
                keep_alive="5m",
            ),
        )

    sent = door.client.body
    assert 200 == reply.status
    assert (0.5, 0.9, 4) == (sent.sampling.temperature, sent.sampling.top_p, sent.sampling.top_k)
    assert (("END",), 10, True) == (sent.stop, sent.max_tokens, sent.cut_to_context)
    assert Reasoning(enabled=True, effort="xhigh", max_tokens=1024) == sent.reasoning
    assert ("json_schema", "output_config.format.schema") == (sent.grammar.kind, sent.grammar.param)
    assert SCHEMA == json.loads(sent.grammar.text)
    assert ["system", "user"] == [message.role for message in sent.messages]
    assert 300 == door.client.submitted[0][1]["keep_alive_s"]


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        # As with Anthropic nobody thinks unasked: the first block of the answer is its text.
        (None, Reasoning(enabled=False)),
        ({"type": "disabled"}, Reasoning(enabled=False)),
        ({"type": "adaptive", "display": "summarized"}, Reasoning()),
        ({"type": "between_tools"}, Reasoning()),
    ],
)
async def test_whether_it_thinks(thinking, expected):
    async with open_door() as door:
        await door.post(PATH, body(thinking=thinking))

    assert expected == door.client.body.reasoning


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, ToolChoice(), True),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(), False),
        ({"type": "none"}, ToolChoice(mode="none"), True),
        ({"type": "any"}, ToolChoice(mode="required"), True),
        (
            {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
            ToolChoice(mode="required", name="look"),
            False,
        ),
    ],
)
async def test_which_tools_are_called_reaches_the_worker(choice, expected, parallel):
    async with open_door() as door:
        reply = await door.post(PATH, body(tools=[LOOK, BASH], tool_choice=choice))

    sent = door.client.body
    assert 200 == reply.status
    assert (expected, parallel) == (sent.tool_choice, sent.parallel_tool_calls)
    assert ["look", "bash"] == [tool.name for tool in sent.tools]
    assert [SCHEMA["properties"].keys(), {"command", "restart"}] == [
        json.loads(tool.parameters)["properties"].keys() for tool in sent.tools
    ]


async def test_examples_of_a_tools_input_are_part_of_its_description():
    async with open_door() as door:
        await door.post(PATH, body(tools=[{**LOOK, "input_examples": [{"at": "x"}]}]))

    assert 'Looks.\nExample input: {"at": "x"}' == door.client.body.tools[0].description


async def test_tools_that_run_at_anthropic_are_refused_or_left_out():
    async with open_door() as door:
        refused = await door.post(PATH, body(tools=[LOOK, SEARCH]))
    client = FakeClient()
    info = ModelInfo(
        name="calls", kind="text", state="ready", source="demo", created=1, capabilities=("tools",)
    )
    client.more_models = (info,)
    async with open_door(client, ignore_unusable_fields=True) as door:
        left_out = await door.post(PATH, body(model="calls", tools=[LOOK, SEARCH]))
        without = await door.post(PATH, body(tools=[LOOK]))

    assert "tools[1].type: " in error(refused)["message"]
    assert ["look"] == [tool.name for tool in client.submitted[0][1]["body"].tools]
    ignored = "tools[0].cache_control, tools[1].max_uses, tools"
    assert ignored == left_out.headers["x-mlxd-ignored"]
    assert () == client.submitted[1][1]["body"].tools
    assert 200 == without.status


async def test_pictures_go_the_way_of_all_pictures():
    client = FakeClient()
    client.more_models = (EYES,)
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    turn = {"role": "user", "content": [picture, {"type": "text", "text": "What?"}]}
    wrong = {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "a!"}}]}
    async with open_door(client) as door:
        seen = await door.post(PATH, body(model="eyes", messages=[turn]))
        sent = client.body
        counted = await door.post(COUNT, {"model": "eyes", "messages": [turn]})
        blind = await door.post(PATH, body(messages=[turn]))
        bad = await door.post(PATH, body(model="eyes", messages=[wrong]))

    assert 200 == seen.status
    assert (1, 1) == (sent.images[0].width, sent.images[0].height)
    # What it is to the model only the model knows, once it has looked.
    assert ({"input_tokens": 7}, False, 1) == (
        counted.json,
        client.body.count_only,
        client.body.max_tokens,
    )
    assert "messages[0].content[0].source.data: demo/echo takes text only" in error(blind)["message"]
    assert "messages[0].content[0].source.data: expected base64" in error(bad)["message"]


async def test_tokens_are_counted_without_an_answer():
    async with open_door() as door:
        reply = await door.post(COUNT, {"model": MODEL, "messages": [USER], "system": "s", "tools": [LOOK]})

    assert {"input_tokens": USAGE.prompt_tokens} == reply.json
    assert door.client.body.count_only
    assert ["look"] == [tool.name for tool in door.client.body.tools]


async def test_an_answer_may_go_on_with_a_last_turn_of_the_assistant():
    turns = [USER, {"role": "assistant", "content": [{"type": "text", "text": "It is"}]}]
    async with open_door() as door:
        reply = await door.post(PATH, body(messages=turns))
        goes_on = door.client.body
        chat = await door.chat(messages=[USER, {"role": "assistant", "content": "It is"}])
        answers = door.client.body
        await door.chat(messages=turns, continue_final_message=True)

    assert (200, 200) == (reply.status, chat.status)
    assert [True, False, True] == [one.continues_last for one in (goes_on, answers, door.client.body)]


async def test_fields_without_effect_are_named():
    async with open_door() as door:
        reply = await door.post(
            PATH, body(metadata={"user_id": "u"}, context_management={"edits": []}, what=1)
        )
        within = await door.post(PATH, body(output_format={"type": "json_schema", "schema": SCHEMA, "x": 1}))
    async with open_door(strict=True) as door:
        known = await door.post(PATH, body(metadata={"user_id": "u"}, service_tier="auto"))
        unknown = await door.post(PATH, body(what=1))

    assert "metadata, context_management, what" == reply.headers["x-mlxd-ignored"]
    # Nothing is unknown within a schema.
    assert "output_format.x" == within.headers["x-mlxd-ignored"]
    assert (200, 400) == (known.status, unknown.status)


@pytest.mark.parametrize(
    ("model", "thinking", "ignored"),
    [
        (MODEL, {"type": "enabled", "budget_tokens": 5}, "thinking"),
        # The model decides, and it does not.
        (MODEL, {"type": "adaptive"}, "thinking"),
        (MODEL, {"type": "disabled"}, None),
        (THINKS.name, {"type": "enabled", "budget_tokens": 5}, None),
    ],
)
async def test_a_model_that_does_not_think_is_said_to_ignore_that_it_should(model, thinking, ignored):
    async with open_door() as door:
        door.client.more_models = (THINKS,)
        reply = await door.post(PATH, body(model=model, thinking=thinking))

    assert 200 == reply.status
    assert ignored == reply.headers.get("x-mlxd-ignored")


@pytest.mark.parametrize(
    ("fields", "begin"),
    [
        ({"max_tokens": None}, "max_tokens: expected an integer in [0, 2147483647], got null"),
        ({"max_tokens": -1}, "max_tokens: "),
        ({"messages": []}, "messages: "),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role: "),
        (
            {"messages": [USER, {"role": "assistant", "content": "It is "}]},
            "messages: expected a last turn of the assistant",
        ),
        ({"temperature": 3}, "temperature: "),
        ({"stop_sequences": [""]}, "stop_sequences[0]: "),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: required"),
        ({"thinking": {"type": "deep"}}, "thinking.type: "),
        ({"tool_choice": {"type": "any"}}, "tool_choice: "),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name: "),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema: "),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name: "),
        ({"tools": [{**LOOK, "name": "a b"}]}, r"tools[0].name: expected a string that matches ^[\w"),
        ({"tools": [LOOK, LOOK]}, "tools[1].name: "),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: "),
        ({"mcp_servers": [{"name": "a", "type": "url", "url": "u"}]}, "mcp_servers: not supported"),
        ({"container": "c"}, "container: not supported"),
        ({"keep_alive": "soon"}, "keep_alive: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_wrong_field_is_refused_by_name(fields, begin):
    async with open_door() as door:
        reply = await door.post(PATH, body(**fields))

    assert 400 == reply.status
    assert "invalid_request_error" == error(reply)["type"]
    assert error(reply)["message"].startswith(begin)
    assert [] == door.client.submitted


@pytest.mark.parametrize(
    ("raised", "status", "kind"),
    [
        (ContextLengthExceeded("messages: too long"), 400, "invalid_request_error"),
        (ModelNotFound("model: no"), 404, "not_found_error"),
        (QueueFull("full", retry_after_s=3), 429, "rate_limit_error"),
        (QueueTimeout("late"), 529, "overloaded_error"),
        (WorkerCrashed("crashed"), 502, "api_error"),
        (KernelUnavailable("gone"), 503, "api_error"),
        (MlxdError("x"), 500, "api_error"),
    ],
)
async def test_each_error_has_anthropics_type_and_status(raised, status, kind):
    client = FakeClient()
    client.script = fail(raised)
    async with open_door(client) as door:
        reply = await door.post(PATH, body())

    assert (status, kind) == (reply.status, error(reply)["type"])
    assert raised.code == error(reply)["details"]["error_code"]


async def test_a_prompt_that_is_too_long_is_told_in_the_words_that_agents_look_for():
    client = FakeClient()
    client.script = fail(ContextLengthExceeded("messages: expected at most 10 tokens"))
    async with open_door(client) as door:
        reply = await door.post(PATH, body())

    assert "prompt is too long: messages: expected at most 10 tokens" == error(reply)["message"]


async def test_whoever_refuses_does_it_in_anthropics_shape(tmp_path):
    """The gate, the keys, the routes, the body: all before the handler has read anything."""
    keys = tmp_path / "keys.json"
    async with open_door(max_body_bytes=100) as door:
        gate = await door.post(PATH, body(), Host="evil.example")
        page = await door.post(COUNT, body(), Origin="https://evil.example")
        method = await door.request("GET", PATH)
        nowhere = await door.post(f"{PATH}/batches", body())
        large = await door.post(PATH, body(system="a" * 100))
        media = await door.post(PATH, body(), Content_Type="text/plain")
        malformed = await door.post(PATH, b"{")
        elsewhere = await door.post("/v1/chat/completions", b"{")
    key = Key(name="ann", digest=digest_of("mlxd-secret"), created=1)
    change_keys(keys, lambda _: (key,))
    async with open_door(keys_path=keys) as door:
        no_key = await door.post(PATH, body())
        wrong_key = await door.post(PATH, body(), x_api_key="wrong")
        good = [
            await door.post(PATH, body(), x_api_key="mlxd-secret"),
            await door.post(PATH, body(), Authorization="Bearer mlxd-secret"),
        ]

    assert [(403, "permission_error")] * 2 == [(one.status, error(one)["type"]) for one in (gate, page)]
    assert (405, "invalid_request_error") == (method.status, error(method)["type"])
    assert (404, "not_found_error") == (nowhere.status, error(nowhere)["type"])
    assert (413, "request_too_large") == (large.status, error(large)["type"])
    assert (415, "invalid_request_error") == (media.status, error(media)["type"])
    assert (400, "invalid_request_error") == (malformed.status, error(malformed)["type"])
    assert "invalid_request" == elsewhere.error["code"]
    assert [(401, "authentication_error")] * 2 == [
        (one.status, error(one)["type"]) for one in (no_key, wrong_key)
    ]
    assert [200, 200] == [one.status for one in good]


async def test_a_failure_in_the_middle_is_an_event_and_the_body_has_no_end():
    client = FakeClient()
    client.script = fail(WorkerCrashed("the worker crashed"), "Hel")
    async with open_door(client) as door:
        connection = await door.raw(door.bytes_of("POST", PATH, body(stream=True)))
        head = await connection.head()
        rest = (await connection.rest()).decode()

    assert b" 200 " in head
    last = rest.split("event: ")[-1]
    assert last.startswith("error\n")
    told = json.loads(last.split("data: ")[1].split("\n")[0])
    assert ("error", "api_error", "the worker crashed") == (
        told["type"],
        told["error"]["type"],
        told["error"]["message"],
    )
    assert told["request_id"].encode() in head
    assert not rest.endswith("0\r\n\r\n")


async def test_a_call_that_is_long_to_write_is_no_silence():
    """Nothing is told of it before it is whole; proxies and agents give a silent stream up."""
    client = FakeClient()
    client.script = say_nothing
    async with open_door(client, sse_keepalive_s=0.05) as door:
        connection = await door.raw(door.bytes_of("POST", PATH, body(stream=True, tools=[LOOK])))
        await client.wait_for(lambda: client.submitted)
        submission = client.submitted[0][0]
        submission.put(Delta(id=submission.id, text="a"))
        await connection.until(b"text_delta")
        submission.put(ToolCallBegin(id=submission.id, index=0, call_id="c", name="look"))
        told = b""
        while b"event: ping" not in told:
            submission.put(ToolCallDelta(id=submission.id, index=0, arguments=" "))
            told = await connection.until(b"\n")
        connection.close()
        await client.wait_for(lambda: client.cancelled)
