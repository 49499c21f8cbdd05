"""/tokenize and /detokenize take llama.cpp's and vLLM's requests and answer both."""

from __future__ import annotations

from typing import Any

import pytest
from http_harness import MODEL, USAGE, Door, Reply, Submission, fail, open_door

from transports.envelope import Message
from transports.errors import RequestError
from transports.messages import Done
from transports.tokens import Tokens

SAID = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "look"}}]
PIECES = (b"H", b"i \xf0\x9f", b"\x99\x82")


def tell(submission: Submission, _: Message) -> None:
    submission.put(Tokens.of(submission.id, (5, 6, 7), PIECES))
    submission.put(Done(id=submission.id, finish_reason="length", usage=USAGE))


async def ask(door: Door, path: str = "/tokenize", **fields: object) -> Reply:
    door.client.script = tell
    return await door.post(path, {"model": MODEL, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": "Hi"}, {"prompt": "Hi", "add_special": False}),
        ({"content": "Hi", "add_special": True}, {"prompt": "Hi", "add_special": True}),
        ({"prompt": "Hi"}, {"prompt": "Hi", "add_special": True}),
        ({"prompt": "Hi", "add_special_tokens": False}, {"prompt": "Hi", "add_special": False}),
    ],
)
async def test_a_text_is_only_counted_and_told(fields: dict[str, Any], expected: dict[str, object]) -> None:
    async with open_door() as door:
        reply = await ask(door, **fields)

    body = door.client.body
    assert {name: getattr(body, name) for name in expected} == expected
    assert (body.count_only, body.tell_tokens) == (True, True)
    assert reply.json == {"tokens": [5, 6, 7], "count": 3, "max_model_len": 4096, "token_strs": None}


async def test_a_conversation_goes_through_the_template() -> None:
    async with open_door() as door:
        await ask(door, messages=[{"role": "user", "content": "Hi"}])

    (_, kwargs) = door.client.submitted[0]
    assert kwargs["task"] == "chat"
    assert kwargs["body"].messages[0].content == "Hi"


async def test_what_else_the_template_is_told_counts_as_in_a_chat() -> None:
    told = {
        "messages": [*SAID, {"role": "assistant", "content": "Ho"}],
        "tools": TOOLS,
        "continue_final_message": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    async with open_door() as door:
        reply = await ask(door, **told, add_generation_prompt=False, add_special_tokens=False)
        tokens = door.client.body
        await door.post("/v1/chat/completions", {"model": MODEL, **told})
        chat = door.client.body
    async with open_door(ignore_unusable_fields=True) as door:
        left_out = await ask(door, **told)

    names = ("messages", "tools", "tool_choice", "continues_last", "reasoning")
    assert [getattr(chat, name) for name in names] == [getattr(tokens, name) for name in names]
    assert "x-mlxd-ignored" not in reply.headers
    assert (left_out.headers["x-mlxd-ignored"], door.client.body.tools) == ("tools", ())


async def test_a_model_that_does_not_tell_its_tokens_is_no_fault_of_ours() -> None:
    async with open_door() as door:
        reply = await door.post("/tokenize", {"model": MODEL, "content": "Hi"})

    assert (reply.status, reply.error["code"]) == (400, "task_not_supported")


async def test_pieces_are_text_or_bytes() -> None:
    async with open_door() as door:
        pieces = await ask(door, content="Hi", with_pieces=True)
        strings = await ask(door, prompt="Hi", return_token_strs=True)

    assert pieces.json["tokens"] == [
        {"id": 5, "piece": "H"},
        {"id": 6, "piece": [105, 32, 0xF0, 0x9F]},
        {"id": 7, "piece": [0x99, 0x82]},
    ]
    assert strings.json["token_strs"] == ["H", "i \ufffd", "\ufffd\ufffd"]


async def test_tokens_become_a_text() -> None:
    async with open_door() as door:
        reply = await ask(door, "/detokenize", tokens=[5, 6, 7])

    assert door.client.body.prompt == (5, 6, 7)
    assert reply.json == {"prompt": "Hi 🙂", "content": "Hi 🙂"}


@pytest.mark.parametrize(
    ("path", "fields"), [("/tokenize", {"content": ""}), ("/detokenize", {"tokens": []})]
)
async def test_nothing_is_nothing_without_a_model(path: str, fields: dict[str, object]) -> None:
    async with open_door() as door:
        reply = await ask(door, path, **fields)

    assert reply.status == 200
    assert door.client.submitted == []


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": "a", "prompt": "b"}, "content"),
        ("/tokenize", {"content": 5}, "content"),
        ("/tokenize", {"messages": []}, "messages"),
        ("/tokenize", {"content": "a", "with_pieces": 1}, "with_pieces"),
        ("/tokenize", {"content": "a" * 9_000_000}, "content"),
        ("/tokenize", {"content": "a", "parse_special": False}, "parse_special"),
        ("/tokenize", {"content": "a", "tools": TOOLS}, "tools"),
        ("/tokenize", {"content": "a", "continue_final_message": True}, "continue_final_message"),
        ("/tokenize", {"messages": SAID, "add_generation_prompt": False}, "add_generation_prompt"),
        ("/tokenize", {"messages": SAID, "add_special_tokens": True}, "add_special_tokens"),
        ("/tokenize", {"messages": SAID, "tools": [*TOOLS, *TOOLS]}, "tools[1].function.name"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": [2**31]}, "tokens[0]"),
        ("/detokenize", {"tokens": "5"}, "tokens"),
    ],
)
async def test_a_wrong_field_is_named(path: str, fields: dict[str, object], param: str) -> None:
    async with open_door() as door:
        reply = await ask(door, path, **fields)

    assert (reply.status, reply.error["param"]) == (400, param)
    assert door.client.submitted == []


async def test_what_the_worker_refuses_is_named_as_the_client_named_it() -> None:
    async with open_door() as door:
        door.client.script = fail(RequestError("prompt: expected token ids in 0..9, got 10", param="prompt"))
        reply = await door.post("/detokenize", {"model": MODEL, "tokens": [10]})

    assert reply.error["message"] == "tokens: expected token ids in 0..9, got 10"
    assert reply.error["param"] == "tokens"
