"""Whatever stands in a body for Anthropic's routes is taken or refused; nothing else is raised."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

import pytest

from plugins.anthropic.content import read_turns
from plugins.anthropic.requests import WITHOUT_EFFECT, MessagesBody
from plugins.anthropic.tools import eager_tools, may_leave_out_tools, runs_here
from plugins.anthropic.translate import check, count_request, message_request
from plugins.turns import chat_messages
from plugins.validation import Reader
from transports.codec import decode_body, encode
from transports.errors import RequestError
from transports.messages import ChatRequest

NUM_BODIES = 400
X = {"type": "text", "text": "x"}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}
BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "stop_sequences": ["END"],
    "temperature": 1.0,
    "top_p": 0.5,
    "top_k": 4,
    "stream": True,
    "thinking": {"type": "enabled", "budget_tokens": 10, "display": "omitted"},
    "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    "tools": [
        {"name": "look", "input_schema": {"type": "object"}, "input_examples": [{"a": 1}], "strict": True},
        {"type": "bash_20250124", "name": "bash"},
    ],
    "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "metadata": {"user_id": "u"},
    "container": None,
    "mcp_servers": [],
    "keep_alive": "5m",
    "messages": [
        {"role": "system", "content": "early"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a", "citations": [{"type": "char_location"}]},
                {"type": "image", "source": PNG},
                {"type": "document", "source": {"type": "text", "data": "d"}, "title": "t", "context": "c"},
                {
                    "type": "document",
                    "source": {"type": "content", "content": [X]},
                },
                {
                    "type": "search_result",
                    "source": "s",
                    "title": "t",
                    "content": [X],
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "h", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "1", "name": "look", "input": {"a": [1, {"b": None}]}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image", "source": PNG}]},
                {"type": "tool_result", "tool_use_id": "2", "content": "x", "is_error": True},
            ],
        },
    ],
}
JUNK: list[Any] = [
    *(None, True, 0, -1, 10**30, 1e308, "", "x", "\ud7ff\u2028\x00", [], {}, [[]], X, {"": {}}),
    *({"type": "tool_use"}, {"type": "base64"}, {"type": 5}, [None], ["a", 1], {"$ref": "#"}),
    {"type": "web_search_20250305", "name": "web_search"},
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in *value* with each of its keys."""
    found: list[tuple[Any, Any]] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        found += places(value[key])
    return found


def mutated(random: Random) -> dict[str, Any]:
    body = copy.deepcopy(BODY)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        container, key = random.choice(places(body))
        _, other = random.choice(places(body))
        match random.randrange(4):
            case 0:
                del container[key]
            case 1:
                container[key] = copy.deepcopy(random.choice(places(BODY))[0])
            case 2 if isinstance(container, dict) and isinstance(other, str):
                container[other] = container.pop(key)
            case _:
                container[key] = copy.deepcopy(random.choice(JUNK))
    return body


def test_no_body_raises_anything_but_a_refusal() -> None:
    seed = Random().randrange(1 << 32)
    random = Random(seed)
    reader = Reader(MessagesBody, strict=False, without_effect=WITHOUT_EFFECT)
    num_taken = 0
    for _ in range(NUM_BODIES):
        data = json.dumps(mutated(random)).encode()
        try:
            body, _ = reader.read(data)
            body_tools = [tool for tool in body.tools or () if runs_here(tool)]
            eager_tools(body_tools)
            may_leave_out_tools(body)
            check(body)
            turns = read_turns(body.system, body.messages)
            messages = chat_messages(turns, [1] * sum(len(turn.sources) for turn in turns))
            for request in (message_request(body, messages, ()), count_request(body, messages, ())):
                # As a worker reads it.
                decode_body(encode(request), ChatRequest)
            num_taken += 1
        except RequestError as e:
            assert e.message
        except Exception:  # noqa: BLE001 - that is what is looked for
            pytest.fail(f"seed {seed}: {data!r}")

    # Or nothing would have been tried.
    assert num_taken > NUM_BODIES // 20
