"""What of a JSON Schema is refused before anybody compiles it."""

from __future__ import annotations

import pytest

from transports.errors import RequestError
from workers.generation.schemas import MAX_PATTERN_PROPERTIES, check_schema


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
