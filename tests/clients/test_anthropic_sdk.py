"""The Anthropic SDK, with its strict response models, against the HTTP frontend."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import pytest
from anthropic import AsyncAnthropic, beta_async_tool
from http_harness import MODEL, USAGE, Door, fail, say, thinks_and_calls

from transports.errors import ContextLengthExceeded, ModelNotFound, QueueFull, QueueTimeout, WorkerCrashed
from transports.messages import Delta

MESSAGES = [{"role": "user", "content": "hi"}]
TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]
ASKED = {"model": MODEL, "max_tokens": 100, "messages": MESSAGES}


@pytest.fixture
async def sdk(door: Door) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(
        base_url=door.url, api_key="none", max_retries=0, timeout=10, _strict_response_validation=True
    ) as client:
        yield client


async def test_a_message_whole(sdk):
    message = await sdk.messages.create(**ASKED)

    assert "Hello world" == message.content[0].text
    assert "end_turn" == message.stop_reason
    assert (4, 3, 2) == (
        message.usage.input_tokens,
        message.usage.cache_read_input_tokens,
        message.usage.output_tokens,
    )
    assert message._request_id.startswith("req_")


async def test_a_stream_is_gathered_to_the_same_message(door, sdk):
    door.client.script = thinks_and_calls
    whole = await sdk.messages.create(**ASKED, tools=TOOLS)
    async with sdk.messages.stream(**ASKED, tools=TOOLS) as stream:
        texts = [text async for text in stream.text_stream]
        gathered = await stream.get_final_message()

    assert ["Look: "] == texts
    assert ["thinking", "text", "tool_use"] == [block.type for block in gathered.content]
    assert {"at": "x"} == gathered.content[2].input
    assert whole.model_dump(exclude={"id"}) == gathered.model_dump(exclude={"id"}, warnings=False)


async def test_a_round_trip_of_a_tool(door, sdk):
    door.client.script = thinks_and_calls
    first = await sdk.messages.create(**ASKED, tools=TOOLS)
    door.client.script = say("It is 4.")
    result = {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "4"}
    turns = [*MESSAGES, first.to_param(), {"role": "user", "content": [result]}]
    second = await sdk.messages.create(**(ASKED | {"messages": turns}), tools=TOOLS)

    _, called, answered = door.client.body.messages
    assert ("Hm.", "callAAAAA", '{"at":"x"}') == (
        called.reasoning,
        called.tool_calls[0].id,
        called.tool_calls[0].arguments.replace(" ", ""),
    )
    assert ("tool", "callAAAAA", "4") == (answered.role, answered.tool_call_id, answered.content)
    assert "It is 4." == second.content[0].text


async def test_the_tool_runner_goes_on_without_a_thread(door, sdk):
    """It wants the server to keep the conversation, and does so itself where that is refused by its code."""

    @beta_async_tool
    async def look(at: str) -> str:
        """Looks."""
        door.client.script = say("Seen.")
        return f"seen {at}"

    door.client.script = thinks_and_calls
    runner = sdk.beta.messages.tool_runner(**ASKED, tools=[look])
    last = await runner.until_done()

    assert "Seen." == last.content[0].text
    assert ["user", "assistant", "tool"] == [one.role for one in door.client.body.messages]


async def test_tokens_are_counted(sdk):
    counted = await sdk.messages.count_tokens(model=MODEL, messages=MESSAGES, tools=TOOLS)

    assert USAGE.prompt_tokens == counted.input_tokens


async def test_models(sdk):
    listed = await sdk.models.list()
    one = await sdk.models.retrieve(MODEL)
    with pytest.raises(anthropic.NotFoundError) as raised:
        await sdk.models.retrieve("nope")

    assert [MODEL, "plain"] == [model.id async for model in listed]
    assert "not_found_error" == raised.value.type
    assert (MODEL, 4096, 2023) == (one.display_name, one.max_input_tokens, one.created_at.year)


async def test_the_beta_namespace(sdk):
    message = await sdk.beta.messages.create(
        **ASKED, betas=["context-management-2025-06-27"], context_management={"edits": []}
    )

    assert "Hello world" == message.content[0].text


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_errors_have_the_sdks_classes(door, sdk, is_streamed):
    for error, class_, type_ in (
        (ModelNotFound("model: known: a"), anthropic.NotFoundError, "not_found_error"),
        (ContextLengthExceeded("too long"), anthropic.BadRequestError, "invalid_request_error"),
        (QueueFull("full", retry_after_s=1), anthropic.RateLimitError, "rate_limit_error"),
        (QueueTimeout("late"), anthropic.APIStatusError, "overloaded_error"),
        (WorkerCrashed("crashed"), anthropic.InternalServerError, "api_error"),
    ):
        door.client.script = fail(error)
        with pytest.raises(class_) as raised:
            await sdk.messages.create(**ASKED, stream=is_streamed)
        assert type_ == raised.value.type
        assert error.code == raised.value.error_code
        assert raised.value.request_id.startswith("req_")


async def test_a_crash_in_the_middle_raises(door, sdk):
    door.client.script = fail(WorkerCrashed("the worker crashed"), "Hel")
    seen = []
    with pytest.raises(anthropic.APIStatusError, match="the worker crashed"):
        async with sdk.messages.stream(**ASKED) as stream:
            async for text in stream.text_stream:
                seen.append(text)

    assert ["Hel"] == seen


async def test_leaving_a_stream_cancels_it(door, sdk):
    door.client.script = lambda submission, _: submission.put(Delta(id=submission.id, text="a"))
    async with sdk.messages.stream(**ASKED) as stream:
        await anext(aiter(stream))

    await door.client.wait_for(lambda: door.client.cancelled)
