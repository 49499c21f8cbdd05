"""instructor: classes filled by a schema and by a call, whole and in part."""

from __future__ import annotations

from typing import Literal

import instructor
import openai
from client_probe import CITY, LOOK, SCRIPTED, TEXT, URL, VISION
from pydantic import BaseModel


class City(BaseModel):
    name: str
    country: str


class Color(BaseModel):
    color: Literal["red", "green", "blue"]


sdk = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
by_schema = instructor.from_openai(sdk, mode=instructor.Mode.JSON_SCHEMA).chat.completions
by_tools = instructor.from_openai(sdk, mode=instructor.Mode.TOOLS).chat.completions

city = {"messages": CITY, "response_model": City, "max_tokens": 80}
assert isinstance(by_schema.create(model=TEXT, **city), City)
assert isinstance([*by_schema.create_partial(model=TEXT, **city)][-1], BaseModel)
assert "red" == by_schema.create(model=VISION, messages=LOOK, response_model=Color, max_tokens=20).color
# Of a class derived from ours, so never equal to one of ours.
assert {"name": "Paris", "country": "France"} == by_tools.create(model=SCRIPTED, **city).model_dump()
