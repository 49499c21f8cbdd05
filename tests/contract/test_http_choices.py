"""Several answers to one prompt: requests of their own for the kernel, one answer for the client."""

from __future__ import annotations

import pytest
from http_harness import FakeClient, Reply, open_door, say_nothing, updates_of

from plugins.merged_updates import MAX_AT_ONCE
from transports.errors import WorkerCrashed
from transports.messages import Delta, Done, TokenLogprob, Usage
from transports.tools import ToolCallBegin, ToolCallDelta, ToolCallEnd

HIGHEST_SEED = 2**63 - 1
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def seeds(client: FakeClient) -> list[int | None]:
    return [kwargs["body"].sampling.seed for _, kwargs in client.submitted]


def numbered(submission, body):
    """The first reads the prompt; the others find it."""
    number = int(submission.id.removeprefix("request-"))
    cached = 3 if number % 2 == 0 else 6
    submission.put(Delta(id=submission.id, text=f"answer {number}"))
    usage = Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=cached, reasoning_tokens=1)
    submission.put(Done(id=submission.id, finish_reason="length" if number else "stop", usage=usage))


def by_choice(reply: Reply) -> dict[int, str]:
    texts: dict[int, str] = {}
    for event in reply.events[:-1]:
        for choice in event["choices"]:
            text = choice["text"] if "text" in choice else choice["delta"].get("content", "")
            texts[choice["index"]] = texts.get(choice["index"], "") + text
    return texts


async def test_choices_are_requests_with_seeds_of_their_own():
    async with open_door() as door:
        door.client.script = numbered
        reply = await door.chat(n=3, seed=HIGHEST_SEED - 1, stop="x")
        alike = {kwargs["body"].stop for _, kwargs in door.client.submitted}
        asked = seeds(door.client)
        await door.chat(n=2)

    assert asked == [HIGHEST_SEED - 1, HIGHEST_SEED, -(2**63)]
    assert alike == {("x",)}
    assert seeds(door.client)[3:] == [None, None]
    choices = reply.json["choices"]
    assert [(one["index"], one["message"]["content"]) for one in choices] == [
        (0, "answer 0"),
        (1, "answer 1"),
        (2, "answer 2"),
    ]
    assert [one["finish_reason"] for one in choices] == ["stop", "length", "length"]


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_counts_a_prompt_once(stream):
    fields = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    async with open_door() as door:
        door.client.script = numbered
        chat = await door.chat(n=2, **fields)
        completion = await door.complete(prompt=["a", "b"], n=2, **fields)
    usages = [reply.events[-2]["usage"] if stream else reply.json["usage"] for reply in (chat, completion)]

    assert [one["prompt_tokens"] for one in usages] == [7, 14]
    assert [one["completion_tokens"] for one in usages] == [4, 8]
    assert [one["prompt_tokens_details"]["cached_tokens"] for one in usages] == [3, 6]
    assert [one["completion_tokens_details"]["reasoning_tokens"] for one in usages] == [2, 4]


async def test_prompts_and_choices_are_numbered_through():
    async with open_door() as door:
        door.client.script = lambda submission, body: [
            submission.put(one) for one in updates_of(submission, f"{body.prompt}{body.sampling.seed}")
        ]
        whole = await door.complete(prompt=["a", "b"], n=2, seed=5)
        streamed = await door.complete(prompt=["a", "b"], n=2, seed=5, stream=True)

    texts = ["a5", "a6", "b5", "b6"]
    assert [(one["index"], one["text"]) for one in whole.json["choices"]] == list(enumerate(texts))
    assert by_choice(streamed) == dict(enumerate(texts))


async def test_streamed_choices_come_as_they_are_made():
    """Whoever is slow keeps nobody else back."""
    async with open_door() as door:
        door.client.script = say_nothing
        body = {"model": "demo/echo", "prompt": ["a", "b"], "stream": True}
        connection = await door.raw(door.bytes_of("POST", "/v1/completions", body))
        await door.client.wait_for(lambda: len(door.client.submitted) == 2)
        slow, quick = (submission for submission, _ in door.client.submitted)
        for update in updates_of(quick, "quick"):
            quick.put(update)
        first = await connection.until(b'"finish_reason":"stop"')
        slow.put(Delta(id=slow.id, text="slow"))
        second = await connection.until(b'"slow"')
        slow.put(updates_of(slow)[-1])
        rest = await connection.until(b"[DONE]")
        connection.close()

    assert b'"index":1,"text":"quick"' in first
    assert b'"index":0,"text":"slow"' in second
    assert rest.count(b'"finish_reason":"stop"') == 1


async def test_each_choice_calls_tools_of_its_own():
    def call(submission, body):
        number = submission.id.removeprefix("request-")
        submission.put(ToolCallBegin(id=submission.id, index=0, call_id=f"call{number}", name="look"))
        submission.put(ToolCallDelta(id=submission.id, index=0, arguments="{}"))
        submission.put(ToolCallEnd(id=submission.id, index=0))
        submission.put(updates_of(submission, finish="tool_calls")[-1])

    async with open_door() as door:
        door.client.script = call
        whole = await door.chat(n=2, tools=TOOLS)
        streamed = await door.chat(n=2, tools=TOOLS, stream=True)

    calls = [one["message"]["tool_calls"][0]["id"] for one in whole.json["choices"]]
    assert calls == ["call0", "call1"]
    begun = [
        (choice["index"], choice["delta"]["tool_calls"][0]["id"])
        for event in streamed.events[:-1]
        for choice in event["choices"]
        if "id" in choice["delta"].get("tool_calls", [{}])[0]
    ]
    assert begun == [(0, "call2"), (1, "call3")]


async def test_so_many_at_once_and_the_others_as_these_end():
    """A queue that one request fills is closed to all others."""
    async with open_door() as door:
        door.client.script = say_nothing
        body = {"model": "demo/echo", "messages": [{"role": "user", "content": "hi"}], "n": MAX_AT_ONCE + 2}
        connection = await door.raw(door.bytes_of("POST", "/v1/chat/completions", body))
        await door.client.wait_for(lambda: len(door.client.submitted) >= MAX_AT_ONCE)
        num_first = len(door.client.submitted)
        for submission, _ in door.client.submitted[:1]:
            numbered(submission, None)
        await door.client.wait_for(lambda: len(door.client.submitted) > MAX_AT_ONCE)
        num_then = len(door.client.submitted)
        door.client.script = numbered
        for submission, _ in door.client.submitted[1:]:
            numbered(submission, None)
        reply = await connection.reply()
        connection.close()

    assert (num_first, num_then) == (MAX_AT_ONCE, MAX_AT_ONCE + 1)
    texts = [one["message"]["content"] for one in reply.json["choices"]]
    assert texts == [f"answer {number}" for number in range(MAX_AT_ONCE + 2)]


async def test_a_client_that_leaves_cancels_every_choice():
    async with open_door() as door:
        door.client.script = say_nothing
        body = {"model": "demo/echo", "messages": [{"role": "user", "content": "hi"}], "n": 4}
        connection = await door.raw(door.bytes_of("POST", "/v1/chat/completions", body))
        await door.client.wait_for(lambda: len(door.client.submitted) == 4)
        connection.close()
        await door.client.wait_for(lambda: len(door.client.cancelled) == 4)

    assert sorted(door.client.cancelled) == [submission.id for submission, _ in door.client.submitted]


async def test_one_that_fails_ends_the_answer_at_once():
    async with open_door() as door:
        door.client.script = say_nothing
        body = {"model": "demo/echo", "messages": [{"role": "user", "content": "hi"}], "n": 3}
        connection = await door.raw(door.bytes_of("POST", "/v1/chat/completions", body))
        await door.client.wait_for(lambda: len(door.client.submitted) == 3)
        door.client.submitted[1][0].put(WorkerCrashed("the worker crashed"))
        reply = await connection.reply()
        connection.close()

    assert (reply.status, reply.error["code"]) == (502, "worker_crashed")
    assert set(door.client.cancelled) == {"request-0", "request-2"}


async def test_of_those_that_are_made_the_likeliest_are_given():
    logprobs = [-3.0, -1.0, -2.0]

    def draw(submission, body):
        assert body.top_logprobs == 0
        number = int(submission.id.removeprefix("request-"))
        token = TokenLogprob(token="x", logprob=logprobs[number])
        # A longer answer is not a less likely one.
        length = 2 if number == 1 else 1
        submission.put(Delta(id=submission.id, text=str(number), logprobs=(token,) * length))
        usage = Usage(prompt_tokens=7, completion_tokens=length)
        submission.put(Done(id=submission.id, finish_reason="stop", usage=usage))

    async with open_door() as door:
        door.client.script = draw
        reply = await door.complete(n=2, best_of=3)

    choices = reply.json["choices"]
    assert [(one["index"], one["text"], one["logprobs"]) for one in choices] == [
        (0, "1", None),
        (1, "2", None),
    ]
    assert reply.json["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"n": 5, "prompt": ["a"] * 32}, "n"),
    ],
)
async def test_what_cannot_be_is_refused(fields, param):
    async with open_door() as door:
        reply = await door.complete(**fields)

    assert (reply.status, reply.error["param"]) == (400, param)
    assert door.client.submitted == []
