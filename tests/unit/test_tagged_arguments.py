"""Arguments between tags as a grammar; that they are kept to, tests/models/test_text_tools.py shows."""

from __future__ import annotations

import json

import pytest

from transports.errors import TaskNotSupported
from workers.generation.tagged_arguments import Tags, tagged_rules, typed, typed_definitions

TAGS = Tags(before=("<p=KEY>",), pad="\n", end="</p>", after="\n", call_end="</call>")
COLOR = {"enum": ["red", "green"]}


def rules(properties: object, required: tuple[str, ...] = (), **more: object) -> list[str]:
    schema = {"type": "object", "properties": properties, "required": [*required], **more}
    return list(tagged_rules(TAGS, schema, 0, json.dumps, {"lenient": False}))


def test_words_stand_as_they_are_and_the_rest_as_json() -> None:
    words, number, color, *_ = rules({"at": {"type": "string"}, "n": {"type": "integer"}, "c": COLOR})

    assert r'arg0_0: "<p=at>" "\n" words0 "\n"' == words
    assert r'arg0_1: "<p=n>" "\n" %json {"minimum": -1000000000000000, ' in number
    assert r'arg0_2: "<p=c>" "\n" ("red" | "green") "\n" "</p>" "\n"' == color


def test_what_is_required_is_there_and_the_rest_may_be() -> None:
    assert "args0: arg0_0? arg0_1" in rules({"a": COLOR, "b": COLOR}, ("b",))


def test_a_tool_without_arguments_gets_none() -> None:
    assert 'args0: ""' in rules({})


def test_no_text_holds_what_ends_it_or_is_nothing() -> None:
    assert r"WORDS0: /(?s:.*)/ & ~/(?s:.*)(<\/p>|<\/call>)(?s:.*)/ & ~/(?i:\s*null\s*)/" == rules({})[-1]


@pytest.mark.parametrize(
    "property_",
    [
        {"type": ["string", "integer"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string", "pattern": "x"},
        {"enum": ["a", 1]},
        {"enum": ["null"]},
        {"enum": [" a"]},
        {"enum": ["</p>"]},
        {"$ref": "#/$defs/none"},
        {},
        True,
    ],
    ids=str,
)
def test_what_would_be_read_as_something_else_is_refused_by_its_name(property_: object) -> None:
    with pytest.raises(TaskNotSupported) as refused:
        rules({"at": property_})

    assert "tools[0].function.parameters.properties.at" == refused.value.param


@pytest.mark.parametrize("more", [{"required": ["b"]}, {"minProperties": 1}, {"properties": [1]}], ids=str)
def test_an_object_that_says_more_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(TaskNotSupported):
        list(tagged_rules(TAGS, {"type": "object", "properties": {"a": COLOR}, **more}, 0, json.dumps, {}))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "N"}, {"type": "integer", "title": "N"}),
        ({"type": ["null", "number"]}, {"type": "number"}),
        ({"$ref": "#/$defs/color"}, {**COLOR, "type": "string"}),
        ({"$ref": "#/$defs/itself"}, {"$ref": "#/$defs/itself"}),
        ({"type": "string"}, {"type": "string"}),
    ],
)
def test_a_type_is_found_behind_references_and_null(schema: object, expected: object) -> None:
    root = {"$defs": {"color": COLOR, "itself": {"$ref": "#/$defs/itself"}}, "properties": {"x": schema}}
    (told,) = typed_definitions([{"type": "function", "function": {"name": "f", "parameters": root}}])

    assert expected == typed(schema, root)  # type: ignore[arg-type]
    assert expected == told["function"]["parameters"]["properties"]["x"]
