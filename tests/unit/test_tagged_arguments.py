"""Arguments between tags as a grammar; that they are kept to, tests/models/test_text_tools.py shows."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest

from transports.errors import TaskNotSupported
from workers.generation.property_types import typed, typed_definitions
from workers.generation.shared_rules import SharedRules
from workers.generation.tagged_arguments import Tags, tagged_rules

TAGS = Tags(before=("<p=KEY>",), pad="\n", end="</p>", after=("\n",), others=("</call>",), has_null=True)
COLOR = {"enum": ["red", "green"]}


def rules(properties: object, required: tuple[str, ...] = (), tags: Tags = TAGS, **more: object) -> list[str]:
    schema = {"type": "object", "properties": properties, "required": [*required], **more}
    shared = SharedRules()
    own = [*tagged_rules(tags, schema, 0, json.dumps, {"lenient": False}, shared)]
    return [*own, *shared.lines()]


def refused(tags: Tags, properties: dict[str, object]) -> str | None:
    with pytest.raises(TaskNotSupported) as error:
        rules(properties, tags=tags)
    return error.value.param


def test_words_stand_as_they_are_and_the_rest_as_json() -> None:
    words, number, color, *_, text, json_ = rules(
        {"at": {"type": "string"}, "n": {"type": "integer"}, "c": COLOR}
    )

    assert r'arg0_0: "<p=at>" "\n" SHARED_0 "\n"' == words
    assert text.startswith("SHARED_0: (")
    assert r'arg0_1: "<p=n>" "\n" shared_1 "\n" "</p>" "\n"' == number
    assert json_.startswith('shared_1: %json {"type": "integer", "minimum": -1000000000000000, ')
    assert r'arg0_2: "<p=c>" "\n" ("red" | "green") "\n" "</p>" "\n"' == color


def test_what_two_arguments_have_alike_is_there_once() -> None:
    found = rules({key: {"type": "array", "items": {"type": "string"}} for key in ("a", "b")})

    assert 1 == sum("%json" in rule for rule in found)


def test_what_is_required_is_there_and_the_rest_may_be() -> None:
    assert 'args0: arg0_0 args0_1 | arg0_1 ""' in rules({"a": COLOR, "b": COLOR}, ("b",))


def test_a_tool_without_arguments_gets_none() -> None:
    assert 'args0: ""' in rules({})


def test_no_text_holds_what_ends_it_or_is_nothing() -> None:
    expected = r'SHARED_0: (/(?s:.)*/ & ~/(?s:.*)(<\/p>|<\/call>)(?s:.*)/ & ~/\s*(?i:null)\s*/) "\n</p>"'

    assert expected in rules({"at": {"type": "string"}})


def test_no_json_holds_what_ends_it() -> None:
    """A text within an array would end the value, too."""
    *_, rule = rules({"at": {"type": "array", "items": {"type": "string"}}})
    text = json.loads(rule.split("%json ")[1])["$defs"]["mlxd-text"]

    assert re.search(text["pattern"], "a <b> </pp <</pre")
    assert not re.search(text["pattern"], "a</p>")
    assert not re.search(text["pattern"], "<<</call>x")


def test_what_may_be_nothing_may_be_null_where_the_parser_reads_it() -> None:
    nullable: dict[str, object] = {"at": {"type": ["string", "null"]}}

    assert any('"null"' in rule for rule in rules(nullable))
    assert not any('"null"' in rule for rule in rules(nullable, tags=replace(TAGS, has_null=False)))


@pytest.mark.parametrize(
    "property_",
    [
        {"type": ["string", "integer"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"enum": ["a", 1]},
        {},
    ],
    ids=str,
)
def test_what_may_be_of_several_types_is_json_to_the_grammar_and_to_the_parser(property_: object) -> None:
    rule, *_, shared = rules({"at": property_})
    root = {"properties": {"at": property_}}
    (told,) = typed_definitions([{"function": {"name": "f", "parameters": root}}])

    assert r'arg0_0: "<p=at>" "\n" shared_0 ' in rule
    assert shared.startswith("shared_0: %json {")
    assert {"type": "object"} == told["function"]["parameters"]["properties"]["at"]


@pytest.mark.parametrize(
    "property_",
    [
        {"enum": ["null"]},
        {"enum": [" a"]},
        {"enum": ["</p>"]},
        {"type": "string", "pattern": "(?=x)"},
        {"type": "string", "format": "unheard-of"},
        {"type": "string", "contentEncoding": "base64"},
        {"type": "array", "items": {"enum": ["</p>"]}},
        {"type": "integer", "enum": [10**17]},
        {"$ref": "#/$defs/none"},
        {"type": "array", "items": {"$ref": "#"}},
        False,
    ],
    ids=str,
)
def test_what_would_be_read_as_something_else_is_refused_by_its_name(property_: object) -> None:
    param = refused(replace(TAGS, strips=True), {"at": property_})

    assert "tools[0].function.parameters.properties.at" == param


def test_a_name_that_would_end_its_tag_is_refused() -> None:
    assert "tools[0].function.parameters.properties.a b" == refused(TAGS, {"a b": COLOR})


def test_a_text_that_is_json_is_written_as_json_where_the_parser_reads_all_json() -> None:
    tags = replace(TAGS, reads_json=True, has_null=False)
    found = rules({"at": {"type": "string"}}, tags=tags)

    assert any(rule.endswith(': SHARED_0 | shared_1 "\\n" "</p>"') for rule in found)
    assert "tools[0].function.parameters.properties.at" == refused(tags, {"at": {"enum": ["5"]}})


def test_texts_may_be_within_cdata() -> None:
    tags = replace(TAGS, texts="cdata", pad="")
    found = rules({"at": {"type": "string"}}, tags=tags)

    assert any(r"SHARED_0: (/[^<&\n]*/" in rule and '"</p>"' in rule for rule in found)
    assert any('SHARED_1: "<![CDATA["' in rule and '"]]></p>"' in rule for rule in found)
    assert any(rule.endswith("[lazy]: SHARED_1") for rule in found)


@pytest.mark.parametrize("more", [{"required": ["b"]}, {"minProperties": 1}, {"properties": [1]}], ids=str)
def test_an_object_that_says_more_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(TaskNotSupported):
        list(
            tagged_rules(
                TAGS, {"type": "object", "properties": {"a": COLOR}, **more}, 0, json.dumps, {}, SharedRules()
            )
        )


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


def test_references_that_lead_everywhere_take_no_time() -> None:
    """Each of ten leads to all ten: 10^8 ways at a depth of 16."""
    names = [f"d{n}" for n in range(10)]
    all_of_them = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
    schema = {"$ref": "#/$defs/d0"}
    began_s = time.process_time()

    assert "type" not in typed(schema, {"$defs": dict.fromkeys(names, all_of_them)})
    assert time.process_time() - began_s < 1.0
