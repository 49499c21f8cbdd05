"""Wrong requests get the right status and an OpenAI error body that names the field; no kernel sees them."""

from __future__ import annotations

import asyncio
import json

import pytest
from http_harness import MODEL, chat_body, open_door, say

from plugins.openai.requests import ChatBody, CompletionBody

USER = {"role": "user", "content": "secret"}
TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BAD_NUMBERS = ("hot", True, [], {}, "1")
INT63 = 2**63

# Field -> values that both routes refuse.
BAD_COMMON = {
    "model": [None, "", 5, "x" * 257, ["m"]],
    "stream": ["yes", 1, 0, [], {}],
    "max_tokens": [0, -1, 1.5, 2**31, INT63, 10**30, *BAD_NUMBERS],
    "stop": ["", 5, [""], [5], ["x"] * 17, "x" * 257, {}],
    "temperature": [-0.1, 2.1, 10**400, *BAD_NUMBERS],
    "top_p": [0, -1, 1.1, *BAD_NUMBERS],
    "top_k": [-2, 1.5, 2**31, *BAD_NUMBERS],
    "min_p": [-0.1, 1.1, *BAD_NUMBERS],
    "xtc_probability": [-0.1, 1.1, *BAD_NUMBERS],
    "xtc_threshold": [-0.1, 0.6, *BAD_NUMBERS],
    "repetition_penalty": [0, -1, 2.1, *BAD_NUMBERS],
    "repeat_penalty": [0, -1, 2.1, *BAD_NUMBERS],
    "presence_penalty": [-2.1, 2.1, *BAD_NUMBERS],
    "frequency_penalty": [-2.1, 2.1, *BAD_NUMBERS],
    "logit_bias": [5, [], "x", {"a": 1}, {"-1": 1}, {"1": 101}, {"1": "x"}, {str(i): 1 for i in range(1025)}],
    "seed": [1.5, INT63, -INT63 - 1, 10**4000, *BAD_NUMBERS],
    "n": [0, 129, 10**9, 1.5, *BAD_NUMBERS],
    "ignore_eos": ["yes", 1],
    "user": [5, "x" * 513, {}],
    "priority": ["urgent", 1, ""],
    "keep_alive": ["soon", "", "5 m", "x" * 41, True, [], {}],
    "stream_options": [5, "x", [], {"include_usage": True}],
    "stream_options.include_obfuscation": [{"include_obfuscation": True}, {"include_obfuscation": 1}],
    "guided_json": [5, [], True, "[]", {"description": "x" * 131_072}],
    "guided_regex": ["", 5, "x" * 131_073],
    "guided_choice": [[], "yes", [1], [""], ["x"] * 1025],
    "guided_grammar": ["", 5, "x" * 131_073],
    "structured_outputs": [5],
    "structured_outputs.json": [{"json": 5}],
    "structured_outputs.regex": [{"regex": ""}],
    "structured_outputs.choice": [{"choice": ["x" * 131_072]}],
    "structured_outputs.grammar": [{"grammar": 5}, {"regex": "a", "grammar": 'start: "a"'}],
    "structured_outputs.structural_tag": [{"structural_tag": {}}],
}
BAD_CHAT = {
    "messages": [None, [], 5, "hi", {}, [USER] * 4097],
    "messages[0]": [[5], [[]], [None]],
    "messages[0].role": [
        [{}],
        [{"role": 5, "content": "x"}],
        [{"role": "owner", "content": "x"}],
        [{"role": "function", "content": "x"}],
    ],
    "messages[1].content": [
        [USER, {"role": "user"}],
        [USER, {"role": "user", "content": None}],
        [USER, {"role": "assistant", "content": None}],
        [USER, {"role": "user", "content": 5}],
        [USER, {"role": "user", "content": {}}],
    ],
    "messages[0].content[1]": [
        [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
        for part in (
            5,
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {}},
            {"type": "file", "file": {}},
        )
    ],
    "messages[0].content[0].type": [
        [{"role": "user", "content": [part]}] for part in ({}, {"type": "hologram"})
    ],
    "messages[0].content[0].text": [[{"role": "user", "content": [{"type": "text"}]}]],
    "messages[0].name": [[{"role": "user", "content": "x", "name": 5}]],
    "max_completion_tokens": [0, -1, 1.5, 2**31, *BAD_NUMBERS],
    "logprobs": [1, "yes"],
    "top_logprobs": [-1, 21, 1.5, 5, *BAD_NUMBERS],
    "response_format": [5],
    "response_format.type": [{}, {"type": "grammar"}, {"type": "xml"}],
    "response_format.json_schema": [{"type": "json_schema", "json_schema": 5}],
    "response_format.json_schema.schema": [
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"schema": [1]}},
        {"type": "json_schema", "json_schema": {"schema": {"description": "x" * 131_072}}},
    ],
    "tool_choice": [
        "required",
        "maybe",
        5,
        {"type": "function"},
        {"type": "function", "function": {"name": "f"}},
        {"type": "custom", "custom": {"name": "f"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
    ],
    "tools": [5, {}, [TOOL] * 513],
    "tools[0]": [[5], [{}]],
    "tools[0].type": [[{"type": "custom", "custom": {"name": "f"}}]],
    "tools[0].function": [[{"type": "function"}]],
    "tools[0].function.name": [[{"type": "function", "function": {"name": name}}] for name in ("", "a b", 5)],
    "tools[1].function.name": [[TOOL, TOOL]],
    "tools[0].function.parameters": [
        [{"type": "function", "function": {"name": "f", "parameters": schema}}] for schema in (5, "{}", [])
    ],
    "parallel_tool_calls": ["yes", 0],
    "functions": [[], [{"name": "f"}]],
    "function_call": [{"name": "f"}, "auto"],
    "messages[0].tool_calls": [[{"role": "user", "content": "x", "tool_calls": [CALL]}]],
    "messages[0].tool_calls[0]": [
        [{"role": "assistant", "content": "x", "tool_calls": [call]}]
        for call in (5, {}, {"id": "1"}, {**CALL, "type": "custom"}, {**CALL, "function": {"name": "f"}})
    ],
    "messages[0].tool_call_id": [[{"role": "user", "content": "x", "tool_call_id": "1"}]],
    "messages[0].reasoning_content": [[{"role": "assistant", "content": "x", "reasoning_content": 5}]],
    "reasoning_effort": ["most", 5],
    "thinking_budget": [-1, 1.5, 2**31, *BAD_NUMBERS],
    "chat_template_kwargs": [
        5,
        {"enable_thinking": "yes"},
        {"reasoning_effort": 5},
        {"messages": []},
        {"thinking_budget": -1},
    ],
    "continue_final_message": ["yes", 1, [USER]],
    "modalities": [["text", "audio"], ["audio"], 5],
    "safety_identifier": [5, "x" * 513, {}],
    "service_tier": ["cheap", 1],
    "store": [True, "yes", 1],
    "verbosity": ["low", "high", "terse", 5],
    "audio": [{"voice": "x"}],
    "moderation": [{"model": "x"}],
    "web_search_options": [{}],
    "messages[0].audio": [[{"role": "assistant", "content": "x", "audio": {"id": "x"}}]],
    "messages[0].function_call": [[{"role": "assistant", "content": "x", "function_call": {"name": "f"}}]],
    "messages[0].refusal": [[{"role": "user", "content": "x", "refusal": "no"}]],
    "messages[0].content[0].refusal": [[{"role": "assistant", "content": [{"type": "refusal"}]}]],
}
BAD_COMPLETION = {
    "prompt": [None, "", [], 5, {}, True, [1, "a"], ["a", 1], ["a", [1]], ["a"] * 33],
    "prompt[0]": [[-1], [2**31], [True], [1.5], [None], [""], [[]], [{}]],
    "prompt[0][1]": [[[1, "a"]], [[1, -1]], [[1, 2**31]]],
    "logprobs": [-1, 21, 1.5, *BAD_NUMBERS],
    "echo": ["yes", 1],
    "suffix": [5, ["x"]],
    "best_of": [0, 129, *BAD_NUMBERS],
}


def cases():
    for route, good, bad in (
        ("/v1/chat/completions", chat_body(), BAD_COMMON | BAD_CHAT),
        ("/v1/completions", {"model": MODEL, "prompt": "x"}, BAD_COMMON | BAD_COMPLETION),
    ):
        for param, values in bad.items():
            for value in values:
                top = param.partition("[")[0].partition(".")[0]
                # Options of a stream are looked at only where there is one.
                streams = {"stream": True} if param.startswith("stream_options.") else {}
                yield route, param, {**good, **streams, top: value}


def is_named(param: str, got: str) -> bool:
    # "stop" refuses ["", ...] at "stop[0]": both name the field.
    return got == param or got.startswith((f"{param}[", f"{param}."))


async def test_every_wrong_value_is_a_400_that_names_its_field():
    """Each within 50 ms: `open_door` fails else."""
    wrong = []
    async with open_door() as door:
        for route, param, body in cases():
            reply = await door.post(route, body)
            named = reply.status == 400 and is_named(param, reply.error["param"] or "")
            if not named or reply.error["type"] != "invalid_request_error":
                wrong.append((route, param, str(body)[:200], reply.status, reply.body[:200]))
            elif "secret" in reply.error["message"]:
                wrong.append((param, "the prompt is in the error"))
        good = await door.chat()

    assert wrong == []
    assert good.status == 200
    assert len(door.client.submitted) == 1


async def test_a_wrong_role_is_quoted():
    async with open_door() as door:
        reply = await door.chat(messages=[USER, {"role": "owner", "content": "secret"}])

    assert reply.error["message"].endswith('got "owner"')


async def test_what_no_template_may_be_told_is_named_and_so_is_what_it_may():
    async with open_door() as door:
        reply = await door.chat(chat_template_kwargs={"enable_thinking": True, "secret": 1})

    assert reply.error["param"] == "chat_template_kwargs.secret"
    assert reply.error["message"] == (
        "chat_template_kwargs.secret: not a field; "
        "expected one of enable_thinking, thinking, reasoning_effort, thinking_budget"
    )


def test_every_field_has_a_wrong_value_in_the_table():
    """A new field needs a row above."""
    covered = {param.partition("[")[0].partition(".")[0] for param in BAD_COMMON | BAD_CHAT | BAD_COMPLETION}

    assert covered == {*ChatBody.__struct_fields__, *CompletionBody.__struct_fields__}


# All that is needed: what comes after it is what is wrong.
GOOD = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]'
MALFORMED = {
    "nothing": b"",
    "cut": GOOD,
    "cut behind a wrong field": b'{"model": 5, "messages": [',
    "cut within a wrong field": b'{"model": {"a": ',
    "half a surrogate pair in a wrong field": b'{"model": ["\\ud800"], "messages": []}',
    "half a surrogate pair behind a wrong field": b'{"model": 5, "messages": [{"role": "\\ud800"}]}',
    "trailing": GOOD + b"} x",
    "single quotes": b"{'model': 'm'}",
    "NaN": GOOD + b', "temperature": NaN}',
    "Infinity": GOOD + b', "temperature": Infinity}',
    "-Infinity": GOOD + b', "temperature": -Infinity}',
    "not an object": b"[]",
    "null": b"null",
    "text": b'"x"',
    "byte order mark": b"\xef\xbb\xbf" + GOOD + b"}",
    "not UTF-8": GOOD + b', "user": "\xff"}',
    "UTF-16": (GOOD + b"}").decode().encode("utf-16"),
    "half a surrogate pair": GOOD.replace(b'"x"', b'"\\ud800"') + b"}",
    "control character": GOOD.replace(b'"x"', b'"a\nb"') + b"}",
    "duplicate key": GOOD + b', "model": "n"}',
    "duplicate key, escaped": GOOD + b', "mod\\u0065l": "n"}',
    "duplicate key inside": GOOD + b', "tools": [{"a": 1, "a": 2}]}',
    "deep": GOOD + b', "tools":' + b"[" * 100_000,
    "deep and closed": GOOD + b', "tools":' + b"[" * 70 + b"]" * 70 + b"}",
    "a flood": GOOD + b', "tools": [' + b"{}," * 60_000 + b"{}]}",
    "a huge number": GOOD + b', "seed": 1' + b"0" * 100_000 + b"}",
}


async def test_the_body_that_all_these_spoil_is_good():
    async with open_door() as door:
        assert (await door.post("/v1/chat/completions", GOOD + b"}")).status == 200


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_json_is_a_400(name):
    async with open_door() as door:
        reply = await door.post("/v1/chat/completions", MALFORMED[name])

    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert door.client.submitted == []


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"temperature": "hot"}, 'temperature: expected a number in [0, 2], got "hot"'),
        ({"max_tokens": 0}, "max_tokens: expected an integer in [1, 2147483647], got 0"),
        ({"n": 129}, "n: expected an integer in [1, 128], got 129"),
        ({"stream": 1}, "stream: expected true or false, got 1"),
        (
            {"messages": [{"role": "owner", "content": "x"}]},
            'messages[0].role: expected one of "assistant", "developer", "system", "tool", "user",',
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].image_url: required, and missing",
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content: required, and missing"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens: 6 contradicts"),
    ],
)
async def test_messages_say_what_was_expected_and_what_was_there(field, message):
    async with open_door() as door:
        reply = await door.chat(**field)

    assert reply.error["message"].startswith(message.replace("6 contradicts", "5 contradicts"))


async def test_two_names_for_one_limit_may_agree_and_not_differ():
    async with open_door() as door:
        same = await door.chat(max_tokens=5, max_completion_tokens=5)
        differ = await door.chat(max_tokens=5, max_completion_tokens=6)
        penalties = await door.chat(repeat_penalty=1.1, repetition_penalty=1.2)

    assert (same.status, door.client.body.max_tokens) == (200, 5)
    assert (differ.status, differ.error["param"]) == (400, "max_tokens")
    assert (penalties.status, penalties.error["param"]) == (400, "repeat_penalty")


async def test_null_is_as_good_as_absent():
    nothing = dict.fromkeys(set(ChatBody.__struct_fields__) - {"model", "messages"})
    async with open_door() as door:
        reply = await door.chat(**nothing)

    assert reply.status == 200


async def test_what_is_absent_is_left_to_the_model():
    async with open_door() as door:
        await door.chat()
        sampling = door.client.body.sampling

    assert door.client.body.max_tokens is None
    assert sampling.temperature is sampling.top_p is sampling.top_k is sampling.seed is None


async def test_all_fields_reach_the_worker():
    fields = {
        "max_completion_tokens": 9,
        "stop": ["a", "b"],
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 40,
        "min_p": 0.1,
        "xtc_probability": 0.2,
        "xtc_threshold": 0.3,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.4,
        "frequency_penalty": -0.4,
        "logit_bias": {"5": -100},
        "seed": -5,
        "ignore_eos": True,
        "keep_alive": "5m",
    }
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    async with open_door() as door:
        reply = await door.chat(**fields, messages=[{"role": "system", "content": parts, "name": "n"}, USER])
        body = door.client.body
        submitted = door.client.submitted[0][1]

    assert reply.status == 200
    assert "x-mlxd-ignored" not in reply.headers
    assert (submitted["task"], submitted["model"]) == ("chat", MODEL)
    assert submitted["keep_alive_s"] == 300
    assert [(m.role, m.content, m.name) for m in body.messages] == [
        ("system", "ab", "n"),
        ("user", "secret", None),
    ]
    assert (body.max_tokens, body.stop, body.ignore_eos, body.top_logprobs) == (9, ("a", "b"), True, None)
    sampling = body.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0, 0.5, 40, 0.1)
    assert (sampling.xtc_probability, sampling.xtc_threshold) == (0.2, 0.3)
    assert (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) == (
        1.1,
        0.4,
        -0.4,
    )
    assert (sampling.logit_bias, sampling.seed) == ({5: -100.0}, -5)


async def test_prompts_may_be_text_or_tokens():
    async with open_door() as door:
        for prompt, expected in (("x", "x"), ([1, 2], (1, 2)), ([[1, 2]], (1, 2)), (["x"], "x")):
            assert (await door.complete(prompt=prompt)).status == 200
            assert door.client.body.prompt == expected
        assert door.client.body.default_max_tokens == 16


async def test_fields_without_effect_are_named():
    """Other servers drop what they do not know in silence."""
    async with open_door() as door:
        reply = await door.chat(metadata={"a": "b"}, mirostat=2, stream_options=None)

    assert reply.status == 200
    assert reply.headers["x-mlxd-ignored"] == "metadata, mirostat"


async def test_fields_without_effect_are_named_also_within_others():
    """Other servers drop these, too: with them goes a schema that was misspelled."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"y": 1}}}}}
    fields = {
        "messages": [USER, {**USER, "foo": 1}, {**USER, "foo": 2}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"z": 1}, "bar": {}}},
        "tools": [tool, {"type": "function", "function": {"name": "g", "baz": [{"name": 1}]}}],
    }
    async with open_door() as door:
        reply = await door.chat(**fields, mirostat=2)
    async with open_door(strict=True) as door:
        strict = await door.chat(**fields)

    within = "messages[1].foo, response_format.json_schema.bar, tools[1].function.baz"
    assert (reply.status, reply.headers["x-mlxd-ignored"]) == (200, f"mirostat, {within}")
    assert (strict.status, strict.headers["x-mlxd-ignored"]) == (200, within)


async def test_what_is_done_anyway_may_be_asked_for():
    fields = {"store": False, "verbosity": "medium", "stream_options": {"include_obfuscation": False}}
    async with open_door() as door:
        reply = await door.chat(**fields, stream=True)

    assert reply.status == 200
    assert "x-mlxd-ignored" not in reply.headers


@pytest.mark.parametrize(
    ("fields", "header", "priority"),
    [
        ({}, {}, 0),
        ({"priority": "low"}, {}, -1),
        ({"priority": "low"}, {"X_Priority": "high"}, -1),
        ({"service_tier": "flex"}, {}, -1),
        ({"service_tier": "fast"}, {}, 1),
        ({"service_tier": "default"}, {"X_Priority": "high"}, 1),
        ({"service_tier": "priority", "priority": "normal"}, {}, 0),
    ],
)
async def test_a_body_says_how_urgent_it_is(fields, header, priority):
    async with open_door() as door:
        await door.post("/v1/chat/completions", chat_body(**fields), **header)
        await door.complete(**{name: value for name, value in fields.items() if name == "priority"})

    assert door.client.submitted[0][1]["priority"] == priority
    if "service_tier" not in fields and not header:
        assert door.client.submitted[1][1]["priority"] == priority


async def test_people_behind_one_client_are_told_apart():
    async with open_door() as door:
        for fields in ({}, {"user": "ann"}, {"user": "ben"}, {"safety_identifier": "ann", "user": "x"}):
            await door.chat(**fields)
        await door.complete(user="ben")
    clients = [kwargs["client"] for _, kwargs in door.client.submitted]

    assert len(set(clients)) == 3
    assert clients[1] == clients[3]
    assert clients[2] == clients[4]
    assert not any("ann" in client or "ben" in client for client in clients)


async def test_a_refusal_of_an_earlier_turn_is_what_was_said():
    refused = {"role": "assistant", "content": None, "refusal": "I will not.", "audio": None}
    parted = {"role": "assistant", "content": [{"type": "refusal", "refusal": "Nor I."}]}
    async with open_door() as door:
        await door.chat(messages=[USER, refused, parted, USER])

    assert [one.content for one in door.client.body.messages[1:3]] == ["I will not.", "Nor I."]


async def test_ignored_names_cannot_forge_a_header():
    names = {"a\r\nX-Evil: 1": 1, "é": 1, "x" * 500: 1, **{f"f{i}": 1 for i in range(100)}}
    async with open_door() as door:
        reply = await door.chat(**names)

    assert reply.headers["x-mlxd-ignored"].startswith("a??X-Evil??1, ?, " + "x" * 64 + ", f0, ")
    assert reply.headers["x-mlxd-ignored"].endswith("(and 71 more)")
    assert "x-evil" not in reply.headers


RESULT = {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "x", "deep": 1}]}
CALLED = {"type": "tool_use", "id": "c", "name": "f", "input": {"any": {"thing": 1}}}


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (
            "/v1/completions",
            {"prompt": "x", "structured_outputs": {"regex": "x", "lark": 1}},
            ["structured_outputs.lark"],
        ),
        ("/v1/embeddings", {"input": "x", "input_type": {"any": 1}}, ["input_type"]),
        (
            "/v1/rerank",
            {"query": "x", "documents": ["\u00e9" * 200, "x", {"text": "x", "title": 1}]},
            ["documents[2].title"],
        ),
        (
            "/v1/messages",
            {
                "max_tokens": 1,
                "messages": [
                    {"role": "assistant", "content": [CALLED]},
                    {"role": "user", "content": [RESULT]},
                ],
            },
            ["messages[1].content[0].content[0].deep"],
        ),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x", "y": 1}]}]},
            ["input[0].content[0].y"],
        ),
    ],
)
async def test_each_route_names_what_is_unknown_within(path: str, body: object, named: list[str]) -> None:
    async with open_door() as door:
        reply = await door.post(path, {"model": MODEL, **body})

    assert reply.headers["x-mlxd-ignored"].split(", ") == named


async def test_the_header_of_a_thousand_names_within_others_is_short():
    many = {f"{i}" + "[0].x" * 1000: 1 for i in range(1000)}
    async with open_door() as door:
        reply = await door.chat(messages=[{**USER, **many}], metadata={})

    header = reply.headers["x-mlxd-ignored"]
    assert header.startswith("metadata, messages[0].0[0].x[0].x[0]")
    assert header.endswith(" (and 969 more)")
    assert len(header) < 4096


async def test_strict_refuses_what_is_unknown_and_takes_what_openai_has():
    async with open_door(strict=True) as door:
        unknown = await door.chat(mirostat=2)
        known = await door.chat(tools=[], metadata={})
        elsewhere = await door.post("/v1/embeddings", {"model": MODEL, "input": "hi", "metadata": {}})

    assert (unknown.status, unknown.error["param"]) == (400, "mirostat")
    assert (elsewhere.status, elsewhere.error["param"]) == (400, "metadata")
    assert (known.status, known.headers["x-mlxd-ignored"]) == (200, "metadata")


async def test_unknown_paths_and_methods():
    async with open_door() as door:
        for path in (
            "/",
            "/v1",
            "/v1/",
            "/v1/chat",
            "//v1/models",
            "/v1/../health",
            "/v1/models/",
            "/%2e%2e",
        ):
            reply = await door.request("GET", path)
            assert (reply.status, reply.error["code"]) == (404, "not_found"), path
        for method, path, allow in (
            ("GET", "/v1/chat/completions", "POST"),
            ("HEAD", "/v1/completions", "POST"),
            ("POST", "/v1/models", "GET"),
            ("DELETE", "/v1/models/plain", "GET"),
            ("OPTIONS", "/v1/chat/completions", "POST"),
            ("PUT", "/v1/responses/resp_1", "GET, DELETE"),
            ("DELETE", "/v1/responses/resp_1/input_items", "GET"),
            ("GET", "/v1/responses/input_tokens", "POST"),
        ):
            reply = await door.request(method, path)
            assert (reply.status, reply.headers["allow"]) == (405, allow), (method, path)


async def test_a_big_body_of_good_json_does_not_stop_the_others():
    """A pasted file and a photograph's worth of text are one string each."""
    text = "a" * 8_000_000
    async with open_door() as door:
        door.client.script = say("ok")
        big, small = await asyncio.gather(
            door.post("/v1/chat/completions", json.dumps(chat_body(prompt_cache_key=text)).encode()),
            door.chat(),
        )

    assert (big.status, small.status) == (200, 200)
