"""Schemas of values between tags; that their values are read, tests/models/test_forced_calls.py shows."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from workers.generation.narrow_schemas import MAX_NUMBER, narrowed

NEVER = ("</parameter>",)


def narrow(schema: dict[str, Any], **shared: Any) -> dict[str, Any]:
    found = narrowed(schema, {"$defs": shared}, NEVER)
    assert found is not None
    return found


def validates(schema: dict[str, Any], value: object) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "array", "items": {"type": "string"}}, ["a </b>"], ["x</parameter>"]),
        ({"type": "string", "maxLength": 20}, "abc", "</parameter>"),
        ({"type": "string", "pattern": "^<", "minLength": 1}, "<b", "</parameter>"),
        ({"type": "integer"}, 5, 10**400),
        ({"type": "number", "minimum": 10**16}, 10**16, 10**17),
        ({}, {"a": [1, None, "b"]}, {"a": "</parameter>"}),
        ({"type": "object"}, {"a": {"b": 1}}, {"</parameter>": 1}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "b"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, "</parameter>"),
        ({"type": "array", "prefixItems": [True]}, [1, 2], ["</parameter>"]),
    ],
)
def test_no_text_has_a_tag_and_no_number_is_too_great(
    schema: dict[str, Any], good: object, bad: object
) -> None:
    found = narrow(schema)

    assert (True, False) == (validates(found, good), validates(found, bad))
    assert validates(schema, good)


def test_what_a_schema_leaves_open_ends_at_some_depth() -> None:
    deep: object = 1
    for _ in range(9):
        deep = [deep]

    assert not validates(narrow({}), deep)


def test_only_what_is_referred_to_is_carried_along() -> None:
    """Each property has its own, and a grammar has a limit."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}

    assert {"type", "minimum", "maximum"} == narrow({"type": "integer"}, node=node).keys()
    assert {"node"} == narrow({"$ref": "#/$defs/node"}, node=node, other={"type": "string"})["$defs"].keys()


def test_a_number_has_bounds_also_behind_a_reference() -> None:
    found = narrow({"$ref": "#/$defs/n"}, n={"type": ["integer", "null"]})

    assert f'"maximum": {MAX_NUMBER}' in json.dumps(found)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": "array", "items": {"$ref": "#/properties/a"}},
        {"const": "</parameter>"},
        {"enum": [[{"</parameter>": 1}]]},
        {"type": "object", "patternProperties": {"^.*$": {}}},
        {"type": "object", "properties": {"</parameter>": {}}},
    ],
    ids=str,
)
def test_what_would_be_read_otherwise_is_none(schema: dict[str, Any]) -> None:
    assert narrowed(schema, {}, NEVER) is None
