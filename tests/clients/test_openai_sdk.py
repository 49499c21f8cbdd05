"""The OpenAI SDK, with its strict response models, against the HTTP frontend."""

from __future__ import annotations

import asyncio
import math

import openai
import pytest
from http_harness import MODEL, USAGE, fail, say
from openai import AsyncOpenAI

from plugins.client import Submission
from transports.envelope import Message
from transports.errors import ContextLengthExceeded, ModelNotFound, QueueFull, WorkerCrashed, WorkerError
from transports.messages import Delta, Done, ReasoningDelta, TokenLogprob
from transports.tools import ToolCallBegin, ToolCallDelta, ToolCallEnd

MESSAGES = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def one_token(submission: Submission, _: Message) -> None:
    top = TokenLogprob(token="Hi", logprob=-0.25, token_bytes=b"Hi")
    token = TokenLogprob(token="Hi", logprob=-0.25, token_bytes=b"Hi", top=(top,))
    submission.put(Delta(id=submission.id, text="Hi", logprobs=(token,)))
    submission.put(Done(id=submission.id, finish_reason="length", usage=USAGE))


async def test_chat_whole(sdk):
    answer = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES)

    assert answer.choices[0].message.content == "Hello world"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    assert answer._request_id == answer.id


async def test_chat_streamed_with_usage(sdk):
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "Hello world"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 9


async def test_the_sdks_accumulator_has_one_role_and_the_whole_text(sdk):
    """It adds up the deltas: a role in each would give "assistantassistant"."""
    async with sdk.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream:
        answer = await stream.get_final_completion()

    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "Hello world"


async def test_the_first_token_of_a_prompt_has_no_logprob(door):
    """As OpenAI answers, which its SDK's types forget: it gives None unless told to check answers."""

    def two_tokens(submission: Submission, _: Message) -> None:
        first = TokenLogprob(token="A", logprob=math.nan, token_bytes=b"A")
        second = TokenLogprob(token="b", logprob=-0.5, token_bytes=b"b")
        submission.put(Delta(id=submission.id, text="Ab", logprobs=(first, second)))
        submission.put(Done(id=submission.id, finish_reason="length", usage=USAGE))

    door.client.script = two_tokens
    async with AsyncOpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as sdk:
        answer = await sdk.completions.create(
            model=MODEL, prompt="Ab", echo=True, max_tokens=0, logprobs=1, timeout=10
        )

    logprobs = answer.choices[0].logprobs
    assert logprobs.token_logprobs == [None, -0.5]
    assert logprobs.top_logprobs == [None, {"b": -0.5}]


async def test_chat_logprobs(door, sdk):
    door.client.script = one_token
    whole = await sdk.chat.completions.create(
        model=MODEL, messages=MESSAGES, logprobs=True, top_logprobs=1, max_completion_tokens=1
    )
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=MESSAGES, logprobs=True, top_logprobs=1, stream=True
    )
    chunks = [chunk async for chunk in stream]

    assert whole.choices[0].logprobs.content[0].top_logprobs[0].bytes == [72, 105]
    assert chunks[1].choices[0].logprobs.content[0].logprob == -0.25
    assert whole.choices[0].finish_reason == "length"


async def test_completions(door, sdk):
    whole = await sdk.completions.create(model=MODEL, prompt=["a", "b"])
    # OpenAI streams "finish_reason": null here, and so do we; the SDK's own strict type has no null.
    lenient = AsyncOpenAI(base_url=sdk.base_url, api_key="none", max_retries=0)
    stream = await lenient.completions.create(model=MODEL, prompt="a", stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    await lenient.close()
    door.client.script = one_token
    scored = await sdk.completions.create(model=MODEL, prompt=[1, 2], logprobs=1, echo=True)

    assert [choice.text for choice in whole.choices] == ["Hello world"] * 2
    assert text == "Hello world"
    assert scored.choices[0].logprobs.top_logprobs == [{"Hi": -0.25}]


async def test_models(sdk):
    listed = await sdk.models.list()
    one = await sdk.models.retrieve(MODEL)

    assert [model.id async for model in listed] == [MODEL, "plain"]
    assert (one.id, one.owned_by) == (MODEL, "mlxd")


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_have_the_sdks_classes(door, sdk, stream):
    for error, class_ in (
        (ModelNotFound("model: known: a", param="model"), openai.NotFoundError),
        (ContextLengthExceeded("too long", param="messages"), openai.BadRequestError),
        (QueueFull("full", retry_after_s=1), openai.RateLimitError),
        (WorkerCrashed("crashed"), openai.InternalServerError),
    ):
        door.client.script = fail(error)
        with pytest.raises(class_) as raised:
            await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)
        assert raised.value.code == error.code
        assert raised.value.param == error.param
        assert error.message in str(raised.value)


async def test_a_bad_field_is_a_bad_request(sdk):
    with pytest.raises(openai.BadRequestError, match="temperature: expected a number") as raised:
        await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=9)

    assert raised.value.param == "temperature"


async def test_a_crash_in_the_middle_raises(door, sdk):
    """A stream that just ends looks like a success to the SDK."""
    door.client.script = fail(WorkerCrashed("the worker crashed"), "Hel")
    stream = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    seen = []
    with pytest.raises(openai.APIError, match="the worker crashed"):
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)

    assert seen == ["", "Hel"]


async def test_a_full_queue_is_tried_again_after_what_we_say(door, sdk):
    def first_full(submission: Submission, body: Message) -> None:
        door.client.script = say("second")
        fail(QueueFull("full", retry_after_s=0.5))(submission, body)

    door.client.script = first_full

    answer = await sdk.with_options(max_retries=1).chat.completions.create(model=MODEL, messages=MESSAGES)

    assert answer.choices[0].message.content == "second"


async def test_what_would_fail_again_is_not_tried_again(door, sdk):
    door.client.script = fail(WorkerError("it cannot be computed"))

    with pytest.raises(openai.InternalServerError, match="cannot be computed"):
        await sdk.with_options(max_retries=2).chat.completions.create(model=MODEL, messages=MESSAGES)

    assert len(door.client.submitted) == 1


async def test_comments_while_it_waits_are_not_seen(door, sdk):
    def late(submission: Submission, body: Message) -> None:
        asyncio.get_running_loop().call_later(0.3, say("late"), submission, body)

    door.client.script = late
    stream = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "late"


async def test_leaving_a_stream_cancels_it(door, sdk):
    door.client.script = lambda submission, _: submission.put(Delta(id=submission.id, text="a"))
    stream = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    await anext(stream)
    await stream.close()

    await door.client.wait_for(lambda: door.client.cancelled)


def thinks_and_calls(submission: Submission, _: Message) -> None:
    for item in (
        ReasoningDelta(id=submission.id, text="Hm."),
        ToolCallBegin(id=submission.id, index=0, call_id="callAAAAA", name="look"),
        ToolCallDelta(id=submission.id, index=0, arguments='{"at":'),
        ToolCallDelta(id=submission.id, index=0, arguments='"x"}'),
        ToolCallEnd(id=submission.id, index=0),
        Done(id=submission.id, finish_reason="tool_calls", usage=USAGE),
    ):
        submission.put(item)


async def test_tool_calls_whole(door, sdk):
    door.client.script = thinks_and_calls
    answer = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, tools=TOOLS)

    (choice,) = answer.choices
    assert ("callAAAAA", "look") == (
        choice.message.tool_calls[0].id,
        choice.message.tool_calls[0].function.name,
    )
    assert "Hm." == choice.message.model_extra["reasoning_content"]
    assert 1 == answer.usage.completion_tokens_details.reasoning_tokens


async def test_tool_calls_streamed_are_gathered_by_the_sdk(door, sdk):
    door.client.script = thinks_and_calls
    async with sdk.chat.completions.stream(model=MODEL, messages=MESSAGES, tools=TOOLS) as stream:
        answer = await stream.get_final_completion()

    (call,) = answer.choices[0].message.tool_calls
    assert ("look", '{"at":"x"}') == (call.function.name, call.function.arguments)
    assert "tool_calls" == answer.choices[0].finish_reason
