"""Answers have OpenAI's shapes, whole and streamed."""

from __future__ import annotations

import math

import msgspec
import pytest
from http_harness import MODEL, USAGE, open_door, say

from transports.messages import Delta, Done, TokenLogprob

USAGE_JSON = {
    "prompt_tokens": 7,
    "completion_tokens": 2,
    "total_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
TOKEN = TokenLogprob(
    token="Hé",
    logprob=-0.5,
    token_bytes="Hé".encode(),
    top=(
        TokenLogprob(token="Hé", logprob=-0.5, token_bytes="Hé".encode()),
        TokenLogprob(token="A", logprob=-math.inf, token_bytes=b"A"),
    ),
)
TOKEN_JSON = {
    "token": "Hé",
    "logprob": -0.5,
    "bytes": [72, 195, 169],
    "top_logprobs": [
        {"token": "Hé", "logprob": -0.5, "bytes": [72, 195, 169]},
        {"token": "A", "logprob": -9999.0, "bytes": [65]},
    ],
}


def one_token(submission, _):
    submission.put(Delta(id=submission.id, text="Hé", logprobs=(TOKEN,)))
    submission.put(Done(id=submission.id, finish_reason="length", usage=USAGE))


async def test_chat_answers_whole():
    async with open_door() as door:
        reply = await door.chat()
    answer = reply.json

    assert answer.pop("id").startswith("chatcmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer.pop("system_fingerprint").startswith("mlxd-")
    assert answer == {
        "object": "chat.completion",
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello world", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE_JSON,
    }


async def test_chat_streams():
    async with open_door() as door:
        reply = await door.chat(stream=True)
    *chunks, end = reply.events

    assert end == "[DONE]"
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {MODEL}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hello"},
        {"content": " world"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in chunks)


async def test_usage_comes_last_and_alone():
    async with open_door() as door:
        reply = await door.chat(stream=True, stream_options={"include_usage": True})
    *chunks, last, _ = reply.events

    assert last["choices"] == []
    assert last["usage"] == USAGE_JSON
    assert [chunk["usage"] for chunk in chunks] == [None] * 4


async def test_chat_logprobs():
    async with open_door() as door:
        door.client.script = one_token
        whole = await door.chat(logprobs=True, top_logprobs=2)
        streamed = await door.chat(logprobs=True, top_logprobs=2, stream=True)

    expected = {"content": [TOKEN_JSON], "refusal": None}
    assert whole.json["choices"][0]["logprobs"] == expected
    assert streamed.events[1]["choices"][0]["logprobs"] == expected
    assert whole.json["choices"][0]["finish_reason"] == "length"
    assert door.client.body.top_logprobs == 2


async def test_completion_answers_whole():
    async with open_door() as door:
        reply = await door.complete()
    answer = reply.json

    assert answer.pop("id").startswith("cmpl-")
    del answer["created"], answer["system_fingerprint"]
    assert answer == {
        "object": "text_completion",
        "model": MODEL,
        "choices": [{"index": 0, "text": "Hello world", "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE_JSON,
    }


async def test_completion_streams():
    async with open_door() as door:
        reply = await door.complete(stream=True, stream_options={"include_usage": True})
    *chunks, last, end = reply.events

    assert end == "[DONE]"
    assert last["usage"] == USAGE_JSON
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Hello", " world", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]


async def test_a_prompts_logprobs_begin_with_null():
    def script(submission, body):
        assert (body.echo, body.top_logprobs, body.max_tokens) == (True, 1, 0)
        part = TokenLogprob(token="\ufffd", logprob=-1.0, token_bytes=b"\xe2\x80")
        other = TokenLogprob(token="\ufffd", logprob=-0.5, token_bytes=b"\xe2")
        tokens = (TokenLogprob(token="a", logprob=math.nan), msgspec.structs.replace(part, top=(other,)))
        submission.put(Delta(id=submission.id, text="a", logprobs=tokens))
        submission.put(Done(id=submission.id, finish_reason="length", usage=USAGE))

    async with open_door() as door:
        door.client.script = script
        reply = await door.complete(prompt=[5, 6], echo=True, logprobs=1, max_tokens=0)

    (choice,) = reply.json["choices"]
    assert choice["logprobs"] == {
        "tokens": ["a", "bytes:\\xe2\\x80"],
        "token_logprobs": [None, -1.0],
        # Two parts of a character are not one key.
        "top_logprobs": [None, {"bytes:\\xe2": -0.5, "bytes:\\xe2\\x80": -1.0}],
        "text_offset": [0, 1],
    }


async def test_completion_logprobs_count_offsets_over_chunks():
    def two_tokens(submission, _):
        submission.put(Delta(id=submission.id, text="Hé", logprobs=(TOKEN,)))
        one_token(submission, _)

    expected = {
        "tokens": ["Hé", "Hé"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"Hé": -0.5, "A": -9999.0}] * 2,
        "text_offset": [0, 2],
    }
    async with open_door() as door:
        door.client.script = two_tokens
        whole = await door.complete(logprobs=1)
        streamed = await door.complete(logprobs=1, stream=True)

    assert whole.json["choices"][0]["logprobs"] == expected
    assert [event["choices"][0]["logprobs"]["text_offset"] for event in streamed.events[:2]] == [[0], [2]]


async def test_the_first_token_of_an_echo_has_no_logprob():
    def echo(submission, _):
        first = TokenLogprob(token="Once", logprob=math.nan)
        submission.put(Delta(id=submission.id, text="Once", logprobs=(first,)))
        one_token(submission, _)

    async with open_door() as door:
        door.client.script = echo
        reply = await door.complete(logprobs=1, echo=True)

    assert reply.json["choices"][0]["logprobs"]["token_logprobs"] == [None, -0.5]
    assert reply.json["choices"][0]["logprobs"]["top_logprobs"][0] is None
    assert door.client.body.echo


async def test_each_prompt_is_a_choice():
    async with open_door() as door:
        door.client.script = lambda submission, body: say(f"<{body.prompt}>")(submission, body)
        whole = await door.complete(prompt=["a", "b"])
        streamed = await door.complete(prompt=["a", "b"], stream=True)

    assert [(choice["index"], choice["text"]) for choice in whole.json["choices"]] == [(0, "<a>"), (1, "<b>")]
    assert whole.json["usage"]["total_tokens"] == 18
    texts = [(event["choices"][0]["index"], event["choices"][0]["text"]) for event in streamed.events[:-1]]
    assert texts == [(0, "<a>"), (0, ""), (1, "<b>"), (1, "")]


async def test_a_suffix_asks_for_the_middle():
    async with open_door() as door:
        reply = await door.complete(prompt="a = ", suffix="\nb", echo=True)

        assert reply.status == 200
        assert (door.client.body.prompt, door.client.body.suffix) == ("a = ", "\nb")


@pytest.mark.parametrize("suffix", ["", None])
async def test_an_empty_suffix_is_none(suffix):
    """Clients send it that mean no suffix."""
    async with open_door() as door:
        await door.complete(prompt="a", suffix=suffix)

        assert door.client.body.suffix is None


async def test_before_a_suffix_the_prompt_may_be_empty():
    async with open_door() as door:
        assert (await door.complete(prompt="", suffix="b")).status == 200
        assert (await door.complete(prompt="", suffix="")).status == 400


async def test_line_separators_are_escaped_in_events():
    """A client that splits lines as Unicode does would tear the event."""
    text = "a\u2028b\u2029c\x85d\r\ne"
    async with open_door() as door:
        door.client.script = say(text)
        reply = await door.chat(stream=True)

    assert reply.events[1]["choices"][0]["delta"]["content"] == text
    assert not any(char in reply.body.decode() for char in "\u2028\u2029\x85\r")


async def test_an_empty_answer_still_says_who_speaks():
    async with open_door() as door:
        door.client.script = say()
        reply = await door.chat(stream=True)

    assert [event["choices"][0]["delta"] for event in reply.events[:-1]] == [
        {"role": "assistant", "content": "", "refusal": None},
        {},
    ]


async def test_updates_that_are_there_travel_in_one_chunk():
    async with open_door() as door:
        door.client.script = say(*"abcdefgh")
        connection = await door.raw(
            door.bytes_of("POST", "/v1/completions", {"model": MODEL, "prompt": "x", "stream": True})
        )
        await connection.head()
        size = int((await connection.until(b"\r\n"))[:-2], 16)
        chunk = await connection.reader.readexactly(size)
        connection.close()

    assert chunk.count(b"data: ") == 9


def told_to_open_webui(description: str) -> dict[str, object]:
    can = {"vision": False, "builtin_tools": False, "usage": True}
    return {"meta": {"description": description, "hidden": False, "capabilities": can}}


async def test_models_are_listed_without_those_that_nothing_serves():
    async with open_door() as door:
        reply = await door.request("GET", "/v1/models")

    assert reply.json == {
        "object": "list",
        "data": [
            {
                "id": MODEL,
                "object": "model",
                "created": 1700000000,
                "owned_by": "mlxd",
                "kind": "text",
                "modalities": ["text"],
                "capabilities": [],
                "tasks": [],
                "state": "ready",
                "size_bytes": 1000,
                "context_length": 4096,
                "info": told_to_open_webui("Takes text. Context: 4096 tokens."),
            },
            {
                "id": "plain",
                "object": "model",
                "created": 1600000000,
                "owned_by": "mlxd",
                "kind": "text",
                "modalities": ["text"],
                "capabilities": [],
                "tasks": [],
                "state": "available",
                "size_bytes": 0,
                "context_length": 0,
                "info": told_to_open_webui("Takes text."),
            },
        ],
    }


async def test_a_model_is_found_with_its_slash_plain_or_encoded():
    async with open_door() as door:
        for path in ("/v1/models/demo/echo", "/v1/models/demo%2Fecho"):
            reply = await door.request("GET", path)
            assert reply.json["id"] == MODEL


async def test_an_unknown_model_is_a_404_that_names_the_known():
    async with open_door() as door:
        reply = await door.request("GET", "/v1/models/nope")

    assert reply.status == 404
    assert reply.error["code"] == "model_not_found"
    assert MODEL in reply.error["message"]


async def test_health_answers_without_a_kernel():
    async with open_door() as door:
        door.client.lost.set()
        health = await door.request("GET", "/health")
        ready = await door.request("GET", "/ready")

    assert (health.status, health.json) == (200, {"status": "ok"})
    assert (ready.status, ready.json) == (503, {"status": "waiting", "waiting_for": ["the kernel"]})


async def test_ready_says_what_it_waits_for():
    async with open_door() as door:
        before = await door.request("GET", "/ready")
        door.client.is_ready = False
        after = await door.request("GET", "/ready")

    assert (before.status, before.json) == (200, {"status": "ready"})
    assert (after.status, after.json["waiting_for"]) == (503, ["model demo/echo: load 40%"])


async def test_head_goes_with_get():
    async with open_door() as door:
        for path in ("/health", "/ready", "/v1/models", "/v1/models/plain"):
            reply = await door.request("HEAD", path)
            assert reply.status == 200
