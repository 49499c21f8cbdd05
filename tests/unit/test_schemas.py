"""JSON Schemas as they are compiled: which objects may have properties that the schema does not name."""

from __future__ import annotations

from copy import deepcopy

import pytest

from workers.generation.schemas import without_unnamed

Schema = dict[str, object]

OPEN: Schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
NO_OTHERS: Schema = {"additionalProperties": False}
CLOSED = OPEN | NO_OTHERS
WORD: Schema = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (OPEN, CLOSED),
        ({"type": "array", "items": OPEN}, {"type": "array", "items": CLOSED}),
        ({"properties": {"allOf": OPEN}}, {"properties": {"allOf": CLOSED}} | NO_OTHERS),
        # As a union of classes and a field with a class are written.
        (
            {"anyOf": [{"$ref": "#/$defs/a"}, OPEN], "$defs": {"a": OPEN}},
            {"anyOf": [{"$ref": "#/$defs/a"}, CLOSED], "$defs": {"a": CLOSED}},
        ),
        (
            {"properties": {"a": {"allOf": [{"$ref": "#/$defs/a"}], "title": "A"}}, "$defs": {"a": OPEN}},
            {"properties": {"a": {"allOf": [{"$ref": "#/$defs/a"}], "title": "A"}}, "$defs": {"a": CLOSED}}
            | NO_OTHERS,
        ),
    ],
)
def test_an_object_that_names_its_properties_has_no_others(schema: Schema, expected: Schema) -> None:
    assert expected == without_unnamed(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {}},
        OPEN | {"additionalProperties": True},
        OPEN | {"additionalProperties": WORD},
        OPEN | {"patternProperties": {"^n": WORD}},
        OPEN | {"minProperties": 2},
        OPEN | {"required": ["name", "country"]},
        # Data that looks like a schema.
        {"const": OPEN},
        {"enum": [OPEN]},
    ],
)
def test_an_object_of_which_more_is_said_is_left_as_it_is(schema: Schema) -> None:
    assert schema == without_unnamed(schema)


@pytest.mark.parametrize(
    "parts",
    [
        {"allOf": [OPEN, {"properties": {"country": WORD}}]},
        {"allOf": [{"$ref": "#/$defs/a"}], "properties": {"country": WORD}},
        {"$ref": "#/$defs/a", "properties": {"country": WORD}},
        {"properties": {"name": WORD, "country": WORD}, "anyOf": [OPEN, {"required": ["country"]}]},
        # Closed, the two exclude each other, and {"a": 1} keeps to both of them as they were.
        {"oneOf": [{"properties": {"a": WORD}, "required": ["a"]}, {"properties": {"b": WORD}}]},
    ],
)
def test_objects_that_several_parts_describe_are_left_as_they_are(parts: Schema) -> None:
    schema = {"properties": {"place": parts}, "$defs": {"a": OPEN}}

    assert schema == without_unnamed(schema)


def test_the_schema_that_came_is_not_changed() -> None:
    schema = deepcopy(OPEN)

    without_unnamed(schema)

    assert OPEN == schema
