"""/v1/responses over HTTP: what the worker gets, the events of a stream, and who sees what is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from http_harness import MODEL, THINKS, USAGE, Door, Reply, fail, open_door, say, say_nothing
from msgspec.structs import replace
from pictures import data_url, plain, png

from plugins.client import Submission
from plugins.keys import Key, change_keys, digest_of
from transports.envelope import Message
from transports.errors import ContextLengthExceeded, WorkerCrashed
from transports.messages import Delta, Done, Reasoning, ReasoningDelta
from transports.reports import ModelInfo
from transports.tools import Tool, ToolCall, ToolCallBegin, ToolCallDelta, ToolCallEnd, ToolChoice

SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
LOOK = {"type": "function", "name": "look", "description": "Looks.", "parameters": SCHEMA}
ADD = {"type": "function", "name": "add", "strict": True}
EYES = {
    "type": "namespace",
    "name": "eyes",
    "description": "Of a bird.",
    "tools": [LOOK, {**ADD, "name": "shut"}],
}
PICTURE = data_url(png(plain("red", (8, 6))))
SEEING = ModelInfo(name="sees", kind="vision", state="ready", source="folder", modalities=("text", "image"))
PIXEL = "data:image/png;base64,iVBORw0KGgo="
RESULT = {"type": "function_call_output", "call_id": "callAAAAA", "output": "4"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"background": True}, "background"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"moderation": {"model": "m"}}, "moderation"),
    ({"text": {"verbosity": "low"}}, "text.verbosity"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [ADD, ADD]}, "tools[1].name"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "namespace", "tools": [ADD]}]}, "tools[0].name"),
    ({"tools": [{**EYES, "tools": [{"type": "custom", "name": "x"}]}]}, "tools[0].tools[0].type"),
    ({"tools": [EYES, {**ADD, "name": "eyes__look"}]}, "tools[1].name"),
    (
        {"tools": [{**EYES, "name": "e" * 128, "tools": [{**ADD, "name": "l" * 128}]}]},
        "tools[0].tools[0].name",
    ),
    ({"tools": [{**EYES, "tools": [{**ADD, "name": f"t{n}"} for n in range(400)]}] * 2}, "tools"),
    ({"tools": [{**ADD, "parameters": "x"}]}, "tools[0].parameters"),
    ({"tools": [ADD], "tool_choice": {"type": "web_search_preview"}}, "tool_choice"),
    ({"tools": [ADD], "tool_choice": {"type": "allowed_tools", "tools": [LOOK]}}, "tool_choice"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_object"}}, "guided_regex": "a"}, "guided_regex"),
    ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
    ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs.enable_thinking"),
    ({"include": ["everything"]}, "include[0]"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"stream_options": {}}, "stream_options"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": 5, "max_tokens": 6}, "max_tokens"),
    ({"n": 2}, "n"),
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
    ({"input": [{"type": "item_reference", "id": "msg_none"}]}, "input[0].id"),
    ({"input": [{"content": "hi"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        "input[0].content[0].image_url",
    ),
    (
        {"input": [{"role": "developer", "content": [{"type": "input_image", "image_url": PIXEL}]}]},
        "input[0].content[0].image_url",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "input[0].content[0].file_data",
    ),
    ({"input": [RESULT]}, "input[0].call_id"),
    ({"input": [{"type": "function_call", "call_id": "1", "name": "f"}]}, "input[0].arguments"),
    # This model takes text only.
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]}]},
        "input[0].content[0].image_url",
    ),
]


async def ask(door: Door, headers: dict[str, str] | None = None, **fields: object) -> Reply:
    return await door.post("/v1/responses", {"model": MODEL, "input": "hi", **fields}, **(headers or {}))


def calls(submission: Submission, _: Message) -> None:
    """Thinks, says a word, calls a tool; a second call is broken."""
    id_ = submission.id
    for item in (
        ReasoningDelta(id=id_, text="Hm."),
        Delta(id=id_, text="Look: "),
        ToolCallBegin(id=id_, index=0, call_id="callAAAAA", name="look"),
        ToolCallDelta(id=id_, index=0, arguments='{"at":"é\u2028"}'),
        ToolCallEnd(id=id_, index=0),
        ToolCallBegin(id=id_, index=1, call_id="callBBBBB", name="look"),
        ToolCallDelta(id=id_, index=1, arguments="{"),
        ToolCallEnd(id=id_, index=1, is_broken=True),
        Delta(id=id_, text="<tool_call>{"),
        Done(id=id_, finish_reason="tool_calls", usage=USAGE),
    ):
        submission.put(item)


async def test_what_is_asked_reaches_the_worker():
    async with open_door() as door:
        door.client.more_models = (THINKS,)
        reply = await ask(
            door,
            model=THINKS.name,
            instructions="Be brief.",
            tools=[LOOK, ADD],
            tool_choice={"type": "function", "name": "add"},
            parallel_tool_calls=False,
            reasoning={"effort": "max", "summary": "auto", "mode": "pro"},
            text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}, "verbosity": "medium"},
            max_output_tokens=9,
            temperature=0.5,
            max_tool_calls=3,
            nope=1,
        )

    body = door.client.body
    look, add = body.tools
    assert "max_tool_calls, nope, reasoning.mode" == reply.headers["x-mlxd-ignored"]
    assert [("system", "Be brief."), ("user", "hi")] == [(m.role, m.content) for m in body.messages]
    assert ("look", "Looks.", SCHEMA) == (look.name, look.description, json.loads(look.parameters))
    assert (Tool(name="add", strict=True), ToolChoice(mode="required", name="add")) == (add, body.tool_choice)
    assert (Reasoning(enabled=True, effort="xhigh"), False) == (body.reasoning, body.parallel_tool_calls)
    assert (SCHEMA, 9, 0.5) == (json.loads(body.grammar.text), body.max_tokens, body.sampling.temperature)


async def test_what_cannot_be_is_refused_by_name():
    async with open_door() as door:
        replies = [(fields, param, await ask(door, **fields)) for fields, param in REFUSED]

    for fields, param, reply in replies:
        assert (400, param) == (reply.status, reply.error["param"]), fields
        assert re.split(r"[.\[]", param)[0] in reply.error["message"]
        assert "token ids" not in reply.error["message"]
    assert [] == door.client.submitted


async def test_unknown_fields_are_refused_where_the_settings_say_so():
    async with open_door(strict=True) as door:
        known = await ask(door, prompt_cache_key="me", max_tool_calls=1)
        unknown = await ask(door, nope=1)

    assert (200, "prompt_cache_key, max_tool_calls") == (known.status, known.headers["x-mlxd-ignored"])
    assert (400, "nope") == (unknown.status, unknown.error["param"])


async def test_a_whole_response_has_its_items():
    async with open_door() as door:
        door.client.script = calls
        reply = await ask(door, tools=[LOOK])

    thought, words, call, more = reply.json["output"]
    assert ("reasoning", [{"type": "reasoning_text", "text": "Hm."}], []) == (
        thought["type"],
        thought["content"],
        thought["summary"],
    )
    assert ("Look: ", "<tool_call>{") == (words["content"][0]["text"], more["content"][0]["text"])
    assert ("callAAAAA", "look", '{"at":"é\u2028"}') == (call["call_id"], call["name"], call["arguments"])
    assert {"completed"} == {item["status"] for item in reply.json["output"]}
    assert ("completed", None, None) == (
        reply.json["status"],
        reply.json["error"],
        reply.json["incomplete_details"],
    )


async def test_events_come_in_the_documented_order():
    async with open_door() as door:
        door.client.script = calls
        reply = await ask(door, tools=[LOOK], stream=True)
        kept = await door.request("GET", f"/v1/responses/{reply.events[0]['response']['id']}")

    events = reply.events
    names = [line[7:] for line in reply.body.decode().splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    message = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done"]
    message += ["content_part.done", "output_item.done"]
    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done"]
    call += ["output_item.done"]
    assert [
        "created",
        "in_progress",
        *(name.replace("output_text", "reasoning_text") for name in message),
        *message,
        *call,
        *call,
        *message,
        "completed",
    ] == [name.removeprefix("response.") for name in names]
    # A line end to str.splitlines.
    assert "\u2028" not in reply.body.decode()
    added = [event["part"] for event in events if event["type"] == "response.content_part.added"]
    assert ["", "", ""] == [part["text"] for part in added]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert ["completed", "completed", "completed", "incomplete", "completed"] == [i["status"] for i in done]
    # The call that was none is not in the response.
    assert [done[0], done[1], done[2], done[4]] == events[-1]["response"]["output"]
    assert kept.json == events[-1]["response"]


async def test_thoughts_are_the_summary_where_one_is_asked_for():
    async with open_door() as door:
        door.client.script = calls
        reply = await ask(
            door, stream=True, reasoning={"summary": "auto"}, include=["reasoning.encrypted_content"]
        )
        thought = reply.events[-1]["response"]["output"][0]
        # A client that passes on only what is opaque.
        opaque = {"type": "reasoning", "id": "rs_1", "summary": []}
        opaque["encrypted_content"] = thought["encrypted_content"]
        await ask(
            door, input=[opaque, {"role": "assistant", "content": "Look"}, {"role": "user", "content": "?"}]
        )

    names = [event["type"].removeprefix("response.") for event in reply.events[2:8]]
    assert [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ] == names
    assert ([{"type": "summary_text", "text": "Hm."}], []) == (thought["summary"], thought["content"])
    assert ("assistant", "Look", "Hm.") == (
        door.client.body.messages[0].role,
        door.client.body.messages[0].content,
        door.client.body.messages[0].reasoning,
    )


async def test_an_answer_that_is_cut_is_incomplete():
    async with open_door() as door:
        door.client.script = say("Hel", finish="length")
        whole = await ask(door, max_output_tokens=1)
        streamed = await ask(door, max_output_tokens=1, stream=True)

    for response in (whole.json, streamed.events[-1]["response"]):
        assert ("incomplete", {"reason": "max_output_tokens"}) == (
            response["status"],
            response["incomplete_details"],
        )
        assert "incomplete" == response["output"][0]["status"]
    assert "response.incomplete" == streamed.events[-1]["type"]


async def test_a_crash_is_a_status_before_the_first_word_and_an_event_after_it():
    async with open_door() as door:
        door.client.script = fail(WorkerCrashed("gone"))
        before = await ask(door, stream=True)
        door.client.script = fail(WorkerCrashed("gone"), "Hel")
        connection = await door.raw(
            door.bytes_of("POST", "/v1/responses", {"model": MODEL, "input": "hi", "stream": True})
        )
        after = await connection.rest()

    assert (502, "worker_crashed") == (before.status, before.error["code"])
    events = [json.loads(line[6:]) for line in after.decode().split("\n") if line.startswith("data: ")]
    assert ["response.output_text.delta", "response.failed", "error"] == [
        event["type"] for event in events[-3:]
    ]
    assert {"code": "server_error", "message": "gone"} == events[-2]["response"]["error"]
    assert ("worker_crashed", "gone") == (events[-1]["code"], events[-1]["error"]["message"])
    # No client takes it for whole.
    assert not after.endswith(b"0\r\n\r\n")


async def test_what_a_worker_says_of_the_conversation_is_said_of_input():
    async with open_door() as door:
        door.client.script = fail(ContextLengthExceeded("messages: too long", param="messages"))
        replies = [await ask(door), await ask(door, stream=True)]

    assert [("input", "input: too long")] * 2 == [(r.error["param"], r.error["message"]) for r in replies]


async def test_what_a_worker_says_of_max_tokens_is_said_of_the_name_that_was_sent():
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    sent = [
        ("/v1/responses", {"model": MODEL, "input": "hi"}, "max_output_tokens"),
        ("/v1/responses", {"model": MODEL, "input": "hi", "stream": True}, "max_output_tokens"),
        ("/v1/responses", {"model": MODEL, "input": "hi"}, "max_tokens"),
        ("/v1/chat/completions", chat, "max_completion_tokens"),
        ("/v1/chat/completions", chat, "max_tokens"),
    ]
    async with open_door() as door:
        door.client.script = fail(ContextLengthExceeded("max_tokens: too many", param="max_tokens"))
        replies = [await door.post(path, {**body, name: 99}) for path, body, name in sent]

    assert [(name, f"{name}: too many") for _, _, name in sent] == [
        (reply.error["param"], reply.error["message"]) for reply in replies
    ]


async def test_a_stream_that_fails_while_it_waits_has_begun_all_the_same():
    """OpenAI's SDK takes no other event for the first one."""
    async with open_door(sse_keepalive_s=0.05) as door:
        door.client.script = say_nothing
        connection = await door.raw(
            door.bytes_of("POST", "/v1/responses", {"model": MODEL, "input": "hi", "stream": True})
        )
        await connection.until(b": keep-alive")
        door.client.submitted[0][0].put(WorkerCrashed("gone"))
        rest = (await connection.rest()).decode()

    names = [line[7:] for line in rest.split("\n") if line.startswith("event: ")]
    assert ["response.created", "response.in_progress", "response.failed", "error"] == names


async def test_a_conversation_is_kept_and_can_be_referred_to():
    async with open_door() as door:
        door.client.script = calls
        first = (await ask(door, instructions="A", tools=[LOOK])).json
        second = (await ask(door, previous_response_id=first["id"], input=[RESULT])).json
        by_chain = door.client.body.messages
        references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
        await ask(door, input=[{"role": "user", "content": "hi"}, *references, RESULT], store=False)
        by_reference = door.client.body.messages
        items = await door.request("GET", f"/v1/responses/{second['id']}/input_items?limit=1")

    # Instructions are not carried over.
    assert ["user", "assistant", "tool"] == [message.role for message in by_chain]
    assert (ToolCall(id="callAAAAA", name="look", arguments='{"at":"é\u2028"}'),) == by_chain[1].tool_calls
    assert ("Look: <tool_call>{", "Hm.") == (by_chain[1].content, by_chain[1].reasoning)
    assert by_chain == by_reference
    assert (["4"], False) == ([item["output"] for item in items.json["data"]], items.json["has_more"])


async def test_pictures_of_earlier_turns_are_looked_at_again():
    async with open_door() as door:
        door.client.more_models = (SEEING,)
        content = [{"type": "input_text", "text": "?"}, {"type": "input_image", "image_url": PICTURE}]
        first = (await ask(door, model="sees", input=[{"role": "user", "content": content}])).json
        await ask(door, model="sees", previous_response_id=first["id"])
        body = door.client.body
        items = (await door.request("GET", f"/v1/responses/{first['id']}/input_items")).json

    assert (1, 2) == (len(body.images), len(body.messages[0].content))
    assert {"type": "input_image", "detail": "auto", "image_url": PICTURE} == items["data"][0]["content"][1]


async def test_nothing_is_kept_that_is_not_to_be():
    async with open_door(max_stored_responses=1) as door:
        unkept = (await ask(door, store=False)).json
        first = (await ask(door)).json
        await ask(door)
        statuses = [
            (await door.request(method, f"/v1/responses/{id_}{more}")).status
            for id_ in (unkept["id"], first["id"], "resp_none")
            for method, more in (("GET", ""), ("GET", "/input_items"), ("DELETE", ""))
        ]
        gone = await ask(door, previous_response_id=first["id"])

    assert (False, True) == (unkept["store"], first["store"])
    assert [404] * 9 == statuses
    assert (400, "previous_response_not_found") == (gone.status, gone.error["code"])


async def test_one_key_never_sees_the_responses_of_another(tmp_path: Path):
    path = tmp_path / "keys.json"
    keys = tuple(Key(name=name, digest=digest_of(name), created=1) for name in ("ann", "bob"))
    change_keys(path, lambda _: keys)
    ann, bob = ({"Authorization": f"Bearer {key.name}"} for key in keys)
    async with open_door(keys_path=path) as door:
        first = (await ask(door, ann)).json
        url = f"/v1/responses/{first['id']}"
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        of_bob = [
            (await door.request("GET", url, **bob)).status,
            (await door.request("GET", f"{url}/input_items", **bob)).status,
            (await door.request("DELETE", url, **bob)).status,
            (await ask(door, bob, previous_response_id=first["id"])).status,
            (await ask(door, bob, input=[reference])).status,
        ]
        of_ann = await door.request("GET", url, **ann)

    assert ([404, 404, 404, 400, 400], 200) == (of_bob, of_ann.status)


async def test_a_response_that_is_over_is_not_streamed_again():
    async with open_door() as door:
        id_ = (await ask(door)).json["id"]
        reply = await door.request("GET", f"/v1/responses/{id_}?stream=true")

    assert (400, "stream") == (reply.status, reply.error["param"])


def looks(submission: Submission, _: Message) -> None:
    """Calls what is in a namespace."""
    id_ = submission.id
    submission.put(ToolCallBegin(id=id_, index=0, call_id="callAAAAA", name="eyes__look"))
    submission.put(ToolCallDelta(id=id_, index=0, arguments="{}"))
    submission.put(ToolCallEnd(id=id_, index=0))
    submission.put(Done(id=id_, finish_reason="tool_calls", usage=USAGE))


async def test_functions_in_a_namespace_are_called_by_it():
    """The model knows one flat list; what the client sees has the namespace, also when it comes back."""
    async with open_door() as door:
        door.client.script = looks
        first = (await ask(door, tools=[EYES, ADD])).json
        tools = door.client.body.tools
        called = first["output"][0]
        door.client.script = say("Seen.")
        await ask(door, tools=[EYES, ADD], input=[RESULT], previous_response_id=first["id"])
        asked_again = door.client.body.messages[-2].tool_calls

    assert [("eyes__look", "Of a bird.\nLooks."), ("eyes__shut", ""), ("add", "")] == [
        (tool.name, tool.description) for tool in tools
    ]
    assert ("look", "eyes") == (called["name"], called["namespace"])
    assert [EYES["name"], "add"] == [tool["name"] for tool in first["tools"]]
    assert ["eyes__look"] == [one.name for one in asked_again]


async def test_tools_that_nobody_could_call_may_be_left_out():
    async with open_door(ignore_unusable_fields=True) as door:
        left_out = await ask(door, tools=[LOOK], image={}, reasoning={"effort": "high"})
        without = door.client.body.tools
        forced = await ask(door, tools=[LOOK], tool_choice="required")
        door.client.more_models = (replace(SEEING, name="calls", capabilities=("tools",)),)
        custom = {"type": "custom", "name": "patch"}
        spaced = {**EYES, "tools": [custom, LOOK]}
        some = await ask(door, model="calls", tools=[{"type": "web_search"}, LOOK, custom, spaced])

    assert (200, ()) == (left_out.status, without)
    assert "image, reasoning.effort, tools" == left_out.headers["x-mlxd-ignored"]
    assert (200, 200) == (forced.status, some.status)
    assert ("tools", ["look", "eyes__look"]) == (
        some.headers["x-mlxd-ignored"],
        [tool.name for tool in door.client.body.tools],
    )
