"""A round with a tool from end to end: HTTP, kernel, an echo worker, and a result that is a picture."""

from __future__ import annotations

from openai import AsyncOpenAI
from pictures import data_url, plain, png
from running import RunningKernel

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
# The echo worker says it back, and its reader makes a thought and a call of it.
SAYS = (
    '<think>\nA picture.\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>'
)


async def test_a_tool_is_called_and_its_picture_seen(http_kernel: RunningKernel) -> None:
    messages = [{"role": "user", "content": SAYS}]
    asked = {"model": "echo/eyes", "tools": TOOLS}
    async with AsyncOpenAI(
        base_url=f"{http_kernel.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        whole = await client.chat.completions.create(messages=messages, **asked)
        async with client.chat.completions.stream(messages=messages, **asked) as stream:
            streamed = await stream.get_final_completion()
        message = whole.choices[0].message
        picture = {"type": "image_url", "image_url": {"url": data_url(png(plain("red", (32, 16))))}}
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": [picture]}
        seen = await client.chat.completions.create(messages=[*messages, message, result], **asked)
        models = [model async for model in client.models.list()]

    assert ("tool_calls", None) == (whole.choices[0].finish_reason, message.content)
    assert '{"at": "it"}' == message.tool_calls[0].function.arguments
    assert "A picture." == message.model_extra["reasoning_content"]
    assert whole.usage.completion_tokens_details.reasoning_tokens == 4
    assert '{"at": "it"}' == streamed.choices[0].message.tool_calls[0].function.arguments
    assert seen.choices[0].message.content.startswith("32x16:dc143c")
    capabilities = {model.id: model.model_extra["capabilities"] for model in models}
    assert ["tools", "reasoning", "vision"] == capabilities["echo/eyes"]
    assert ["structured_output"] == capabilities["demo/smollm2-135m"]
