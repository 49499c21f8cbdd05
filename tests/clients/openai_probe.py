"""The OpenAI SDK against real models; `test_openai_sdk.py` has the rest of it."""

from __future__ import annotations

import openai
from client_probe import CITY, FRANCE, LONG, LOOK, SLOW, TEXT, TOO_LONG, URL, VISION, wait_until_idle
from pydantic import BaseModel


class City(BaseModel):
    name: str
    country: str


client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
chat = client.chat.completions

assert {TEXT, VISION} <= {model.id for model in client.models.list()}
assert "Paris" in chat.create(model=TEXT, messages=FRANCE).choices[0].message.content
parsed = chat.parse(model=TEXT, messages=CITY, response_format=City, max_tokens=80).choices[0].message.parsed
assert isinstance(parsed, City)
assert "red" in chat.create(model=VISION, messages=LOOK, max_tokens=20).choices[0].message.content
assert 2 == len(chat.create(model=TEXT, messages=FRANCE, n=2).choices)
for fields, expected in (
    ({"model": "nope", "messages": FRANCE}, openai.NotFoundError),
    ({"model": TEXT, "messages": LOOK}, openai.BadRequestError),
    ({"model": TEXT, "messages": TOO_LONG}, openai.BadRequestError),
):
    try:
        chat.create(**fields)
    except expected as error:
        assert error.code
    else:
        raise AssertionError(fields["model"])

stream = chat.create(model=SLOW, messages=LONG, stream=True)
next(stream)
stream.close()
wait_until_idle()
