"""The Responses API of the OpenAI SDK, with its strict response models, against the HTTP frontend."""

from __future__ import annotations

import json

import openai
import pytest
from http_harness import MODEL, USAGE, fail, say, thinks_and_calls
from openai.types.responses import Response
from pydantic import BaseModel

from plugins.client import Submission
from transports.envelope import Message
from transports.errors import QueueFull, WorkerCrashed
from transports.messages import Delta, Done, TokenLogprob
from transports.tools import ToolCallBegin, ToolCallEnd

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


class Answer(BaseModel):
    city: str


async def test_a_response_is_made_kept_and_forgotten(sdk):
    made = await sdk.responses.create(model=MODEL, input="hi", metadata={"a": "b"}, temperature=0.5)
    kept = await sdk.responses.retrieve(made.id)
    items = await sdk.responses.input_items.list(made.id)
    await sdk.responses.delete(made.id)

    assert ("Hello world", "completed") == (made.output_text, made.status)
    assert (7, 3, 2, 1, 9) == (
        made.usage.input_tokens,
        made.usage.input_tokens_details.cached_tokens,
        made.usage.output_tokens,
        made.usage.output_tokens_details.reasoning_tokens,
        made.usage.total_tokens,
    )
    assert ({"a": "b"}, 0.5, made._request_id) == (made.metadata, made.temperature, made.id)
    assert made.to_dict() == kept.to_dict()
    assert ["hi"] == [item.content[0].text async for item in items]
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(made.id)


async def test_a_response_that_is_over_cannot_be_cancelled(sdk):
    made = await sdk.responses.create(model=MODEL, input="hi")

    with pytest.raises(openai.BadRequestError, match="made in the background"):
        await sdk.responses.cancel(made.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.cancel("resp_none")


async def test_a_conversation_goes_on_from_a_response(door, sdk):
    door.client.script = thinks_and_calls
    first = await sdk.responses.create(model=MODEL, input="hi", tools=[LOOK])
    door.client.script = say("4")
    result = {"type": "function_call_output", "call_id": "callAAAAA", "output": "four"}
    second = await sdk.responses.create(model=MODEL, previous_response_id=first.id, input=[result])

    (user, assistant, tool) = door.client.body.messages
    assert ("4", first.id) == (second.output_text, second.previous_response_id)
    assert ("hi", "Look: ", "Hm.") == (user.content, assistant.content, assistant.reasoning)
    assert ("look", '{"at":"x"}') == (assistant.tool_calls[0].name, assistant.tool_calls[0].arguments)
    assert ("tool", "callAAAAA", "four") == (tool.role, tool.tool_call_id, tool.content)


async def test_what_a_response_says_may_be_sent_back_as_it_is(door, sdk):
    door.client.script = thinks_and_calls
    first = await sdk.responses.create(model=MODEL, input="hi", tools=[LOOK], store=False)
    history = [item.to_dict() for item in first.output]
    result = {"type": "function_call_output", "call_id": "callAAAAA", "output": "four"}
    await sdk.responses.create(
        model=MODEL, input=[{"role": "user", "content": "hi"}, *history, result], store=False
    )

    assert [("user", ""), ("assistant", "Hm."), ("tool", "")] == [
        (message.role, message.reasoning) for message in door.client.body.messages
    ]


async def test_tokens_are_counted(door, sdk):
    first = await sdk.responses.create(model=MODEL, input="hi")
    door.client.script = say(finish="length")
    counted = await sdk.responses.input_tokens.count(model=MODEL, previous_response_id=first.id, input="?")

    assert (7, True) == (counted.input_tokens, door.client.body.count_only)
    assert ["hi", "Hello world", "?"] == [message.content for message in door.client.body.messages]


async def test_a_stream_is_gathered_by_the_sdk(door, sdk):
    door.client.script = thinks_and_calls
    seen: list[str] = []
    async with sdk.responses.stream(model=MODEL, input="hi", tools=[LOOK]) as stream:
        async for event in stream:
            seen.append(event.type.removeprefix("response."))
            if event.type == "response.output_text.delta":
                assert "Look: " == event.snapshot
        response = await stream.get_final_response()

    assert ["reasoning", "message", "function_call"] == [item.type for item in response.output]
    assert ("Look: ", '{"at":"x"}') == (response.output_text, response.output[2].arguments)
    assert ["created", "in_progress", "output_item.added"] == seen[:3]
    assert "completed" == seen[-1]


async def test_a_model_of_pydantic_is_what_the_answer_keeps_to(door, sdk):
    door.client.script = say('{"city": "Paris"}')
    whole = await sdk.responses.parse(model=MODEL, input="hi", text_format=Answer)
    schema = json.loads(door.client.body.grammar.text)
    async with sdk.responses.stream(model=MODEL, input="hi", text_format=Answer) as stream:
        streamed = await stream.get_final_response()

    assert [Answer(city="Paris")] * 2 == [whole.output_parsed, streamed.output_parsed]
    assert ["city"] == list(schema["properties"])


async def test_a_function_in_a_namespace_is_called(door, sdk):
    def shuts(submission: Submission, _: Message) -> None:
        submission.put(ToolCallBegin(id=submission.id, index=0, call_id="callAAAAA", name="eyes__shut"))
        submission.put(ToolCallEnd(id=submission.id, index=0))
        submission.put(Done(id=submission.id, finish_reason="tool_calls", usage=USAGE))

    door.client.script = shuts
    shut = {"type": "function", "name": "shut", "parameters": {}, "strict": False}
    eyes = {"type": "namespace", "name": "eyes", "description": "Of a bird.", "tools": [shut]}
    async with sdk.responses.stream(model=MODEL, input="hi", tools=[eyes]) as stream:
        response = await stream.get_final_response()

    (call,) = response.output
    assert ("shut", "eyes") == (call.name, call.namespace)
    assert [eyes] == [tool.model_dump(exclude_none=True) for tool in response.tools]


async def test_token_logprobs(door, sdk):
    def one_token(submission: Submission, _: Message) -> None:
        top = TokenLogprob(token="Hi", logprob=-0.25, token_bytes=b"Hi")
        token = TokenLogprob(token="Hi", logprob=-0.25, token_bytes=b"Hi", top=(top,))
        submission.put(Delta(id=submission.id, text="Hi", logprobs=(token,)))
        submission.put(Done(id=submission.id, finish_reason="length", usage=USAGE))

    door.client.script = one_token
    cut = await sdk.responses.create(
        model=MODEL, input="hi", include=["message.output_text.logprobs"], top_logprobs=1, max_output_tokens=1
    )

    (token,) = cut.output[0].content[0].logprobs
    assert ([72, 105], -0.25) == (token.top_logprobs[0].bytes, token.logprob)
    assert ("incomplete", "max_output_tokens") == (cut.status, cut.incomplete_details.reason)
    assert "incomplete" == cut.output[0].status


async def test_errors_have_the_sdks_classes(door, sdk):
    with pytest.raises(openai.BadRequestError, match="web_search") as refused:
        await sdk.responses.create(model=MODEL, input="hi", tools=[{"type": "web_search"}])
    with pytest.raises(openai.BadRequestError) as gone:
        await sdk.responses.create(model=MODEL, input="hi", previous_response_id="resp_none")
    door.client.script = fail(QueueFull("full"))
    with pytest.raises(openai.RateLimitError):
        await sdk.responses.create(model=MODEL, input="hi")

    assert "tools[0].type" == refused.value.param
    assert ("previous_response_not_found", "previous_response_id") == (gone.value.code, gone.value.param)


async def test_a_crash_in_the_middle_is_told_and_raised(door, sdk):
    door.client.script = fail(WorkerCrashed("the worker crashed"), "Hel")
    stream = await sdk.responses.create(model=MODEL, input="hi", stream=True)
    seen: dict[str, Response | None] = {}
    with pytest.raises(openai.APIError, match="the worker crashed"):
        async for event in stream:
            seen[event.type] = getattr(event, "response", None)

    failed = seen["response.failed"]
    assert failed is not None and failed.error is not None
    assert ("failed", "server_error") == (failed.status, failed.error.code)


async def test_leaving_a_stream_cancels_it(door, sdk):
    door.client.script = lambda submission, _: submission.put(Delta(id=submission.id, text="a"))
    stream = await sdk.responses.create(model=MODEL, input="hi", stream=True)
    await anext(stream)
    await stream.close()

    await door.client.wait_for(lambda: door.client.cancelled)
