"""JSON Schemas as they are compiled: what is refused before that, and which objects may have other names."""

from __future__ import annotations

from copy import deepcopy

import pytest

from transports.errors import RequestError
from workers.generation.schemas import (
    MAX_PATTERN_PROPERTIES,
    check_schema,
    without_leap_seconds,
    without_unnamed,
)

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


def patterns(count: int) -> dict[str, object]:
    return {"type": "object", "patternProperties": {f"^a{n}$": {} for n in range(count)}}


@pytest.mark.parametrize("around", ["", "items", "anyOf", "properties", "patternProperties"])
def test_so_many_patterns_that_none_could_compare_them_are_refused(around: str) -> None:
    many = patterns(MAX_PATTERN_PROPERTIES + 1)
    schemas = {
        "": many,
        "items": {"items": many},
        "anyOf": {"anyOf": [{}, many]},
        "properties": {"properties": {"a": many}},
        "patternProperties": {"patternProperties": {"a": many}},
    }

    with pytest.raises(RequestError, match="at most 128 patternProperties, got 129") as error:
        check_schema(schemas[around], "guided")
    assert error.value.param == "guided"


def test_as_many_as_may_be_are_taken() -> None:
    check_schema(patterns(MAX_PATTERN_PROPERTIES), "guided")


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    """What stands below "properties" are names, and their number is no matter."""
    words = {f"x-{n}": "" for n in range(MAX_PATTERN_PROPERTIES + 1)}
    check_schema({"properties": {"patternProperties": words}}, "guided")


def test_a_time_keeps_to_a_pattern_too_wherever_it_is() -> None:
    time: Schema = {"format": "time", "allOf": [{"maxLength": 20}]}
    others: Schema = {"format": "date", "enum": [{"format": "time"}]}
    schema: Schema = {
        "properties": {"format": {"items": time}, "day": others},
        "$defs": {"t": deepcopy(time)},
    }
    before = deepcopy(schema)

    timed = without_leap_seconds(schema)

    kept = {"format": "time", "allOf": [{"maxLength": 20}, {"pattern": "^[^:]*:[^:]*:[0-5]"}]}
    assert {"properties": {"format": {"items": kept}, "day": others}, "$defs": {"t": kept}} == timed
    assert before == schema
