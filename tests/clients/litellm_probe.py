"""LiteLLM: chat, stream, tools, pictures, structured output, errors, and a stream that is left."""

from __future__ import annotations

import asyncio

import litellm
from client_probe import (
    CITY,
    FRANCE,
    LONG,
    LOOK,
    SCRIPTED,
    SLOW,
    TEXT,
    THINKS_AND_CALLS,
    TOO_LONG,
    TOOLS,
    URL,
    VISION,
    wait_until_idle,
)
from pydantic import BaseModel


class City(BaseModel):
    name: str
    country: str


FIELDS = {"api_base": f"{URL}/v1", "api_key": "none", "num_retries": 0}


def ask(model: str, messages: list[dict], provider: str = "openai", **fields: object):
    answer = litellm.completion(model=f"{provider}/{model}", messages=messages, **FIELDS, **fields)
    if fields.get("stream"):
        answer = litellm.stream_chunk_builder(list(answer))
    return answer.choices[0].message


async def leave_a_stream() -> None:
    stream = await litellm.acompletion(model=f"openai/{SLOW}", messages=LONG, stream=True, **FIELDS)
    await anext(aiter(stream))
    await stream.aclose()


for provider in ("openai", "hosted_vllm", "litellm_proxy", "lm_studio", "llamafile"):
    assert "Paris" in ask(TEXT, FRANCE, provider).content
assert "Paris" in ask(TEXT, FRANCE, stream=True).content
City.model_validate_json(ask(TEXT, CITY, response_format=City, max_tokens=80).content)
assert "red" in ask(VISION, LOOK, max_tokens=20).content
for is_streamed in (False, True):
    said = ask(SCRIPTED, THINKS_AND_CALLS, tools=TOOLS, stream=is_streamed)
    assert ("magic_function", '{"input": 3}') == (
        said.tool_calls[0].function.name,
        said.tool_calls[0].function.arguments,
    )
for model, messages, expected in (
    ("nope", FRANCE, litellm.NotFoundError),
    (TEXT, LOOK, litellm.BadRequestError),
    # What its `context_window_fallbacks` go by.
    (TEXT, TOO_LONG, litellm.ContextWindowExceededError),
):
    try:
        ask(model, messages)
    except expected:
        continue
    raise AssertionError(expected)
vectors = litellm.embedding(model="openai/demo/all-minilm-l6-v2", input=["a", "b"], **FIELDS)
assert 2 == len(vectors.data)
asyncio.run(leave_a_stream())
wait_until_idle()
