"""Under which names an answer's grammar comes, and as what it goes to the worker."""

from __future__ import annotations

import json

import msgspec
import pytest

from plugins.openai.grammars import grammar_of
from plugins.openai.requests import ChatBody
from transports.errors import RequestError
from transports.messages import Grammar

SCHEMA = {"type": "object", "properties": {"z": {}, "a": {}}}
TEXT = json.dumps(SCHEMA)


def of(**fields: object) -> Grammar | None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    return grammar_of(msgspec.json.decode(json.dumps(body), type=ChatBody))


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
            "json_schema",
            TEXT,
        ),
        ({"response_format": {"type": "json_object"}}, "json_schema", '{"type": "object"}'),
        ({"guided_json": SCHEMA}, "json_schema", TEXT),
        ({"guided_json": TEXT}, "json_schema", TEXT),
        ({"guided_regex": "a+"}, "regex", "a+"),
        ({"guided_choice": ['"yes"', "ja/é"]}, "lark", 'start: "\\"yes\\"" | "ja/é"'),
        ({"guided_grammar": 'start: "a"'}, "lark", 'start: "a"'),
        ({"structured_outputs": {"json": SCHEMA}}, "json_schema", TEXT),
        ({"structured_outputs": {"json_object": True}}, "json_schema", '{"type": "object"}'),
        ({"structured_outputs": {"regex": "a+"}}, "regex", "a+"),
        ({"structured_outputs": {"choice": ["a"]}}, "lark", 'start: "a"'),
        ({"structured_outputs": {"grammar": 'start: "a"'}}, "lark", 'start: "a"'),
    ],
)
def test_every_name_of_a_grammar_is_taken(fields: dict[str, object], kind: str, text: str) -> None:
    grammar = of(**fields)

    assert grammar is not None
    assert (grammar.kind, grammar.text) == (kind, text)
    assert grammar.param.split(".")[0] == next(iter(fields))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"response_format": {"type": "text"}},
        {"response_format": None, "guided_json": None, "structured_outputs": None},
        {"structured_outputs": {}},
        {"structured_outputs": {"json_object": False}},
    ],
)
def test_a_request_without_a_grammar_has_none(fields: dict[str, object]) -> None:
    assert of(**fields) is None


def test_two_grammars_are_refused() -> None:
    with pytest.raises(RequestError) as caught:
        of(response_format={"type": "json_object"}, guided_regex="a")

    assert caught.value.param == "guided_regex"
    assert "response_format" in caught.value.message
