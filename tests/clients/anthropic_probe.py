"""The Anthropic SDK against real models; `test_anthropic_sdk.py` has the rest of it."""

from __future__ import annotations

import anthropic
from client_probe import (
    CITY,
    FRANCE,
    LONG,
    PICTURE,
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

LOOK = [
    {
        "role": "user",
        "content": [
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PICTURE.partition(",")[2]},
            },
            {"type": "text", "text": "What color is the circle?"},
        ],
    }
]
FUNCTION = TOOLS[0]["function"]
CALLED = [{"name": FUNCTION["name"], "input_schema": FUNCTION["parameters"]}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Paris"]}},
    "required": ["name"],
    "additionalProperties": False,
}

client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
messages = client.messages

assert {TEXT, VISION} <= {model.id for model in client.models.list()}
assert "Paris" in messages.create(model=TEXT, max_tokens=20, messages=FRANCE).content[0].text
assert "red" in messages.create(model=VISION, max_tokens=20, messages=LOOK).content[0].text
with messages.stream(model=VISION, max_tokens=20, messages=LOOK) as stream:
    words = "".join(stream.text_stream)
    message = stream.get_final_message()
assert words == message.content[0].text
assert "end_turn" == message.stop_reason
counted = messages.count_tokens(model=TEXT, messages=FRANCE).input_tokens
usage = messages.create(model=TEXT, max_tokens=1, messages=FRANCE).usage
assert counted == usage.input_tokens + usage.cache_read_input_tokens
kept = {"format": {"type": "json_schema", "schema": SCHEMA}}
assert (
    "Paris" in messages.create(model=TEXT, max_tokens=60, messages=CITY, output_config=kept).content[0].text
)
turn = messages.create(model=SCRIPTED, max_tokens=100, messages=THINKS_AND_CALLS, tools=CALLED)
assert {"input": 3} == turn.content[-1].input
assert "tool_use" == turn.stop_reason
thoughts = {"type": "enabled", "budget_tokens": 1024}
thinks = messages.create(
    model=SCRIPTED, max_tokens=2048, messages=[{"role": "user", "content": "Think."}], thinking=thoughts
)
assert ["I think.", "Done."] == [thinks.content[0].thinking, thinks.content[1].text]
for fields, expected in (
    ({"model": "nope", "messages": FRANCE}, anthropic.NotFoundError),
    ({"model": TEXT, "messages": LOOK}, anthropic.BadRequestError),
    ({"model": TEXT, "messages": TOO_LONG}, anthropic.BadRequestError),
):
    try:
        messages.create(max_tokens=20, **fields)
    except expected as error:
        assert error.request_id
    else:
        raise AssertionError(fields["model"])

with messages.stream(model=SLOW, max_tokens=4000, messages=LONG) as stream:
    next(iter(stream))
wait_until_idle()
