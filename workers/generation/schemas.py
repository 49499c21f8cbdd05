"""JSON Schemas as they are compiled: what they may say, and how free the JSON is. Knows no llguidance."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TypeVar

from transports.errors import RequestError

# Objects and arrays inside each other; OpenAI has 10, llguidance stops at 128.
MAX_SCHEMA_DEPTH = 64
# Of one object. llguidance compares each with all others: 200 take 0.4 s, 400 more than 6 s.
MAX_PATTERN_PROPERTIES = 128
# What a schema may not say about how it is compiled; and what older drafts had and llguidance passes over.
_REFUSED_KEYWORDS = frozenset({"x-guidance", "divisibleBy", "disallow", "extends"})
# Values of these are names or data, and no keywords.
_NAMES = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_DATA = frozenset({"enum", "const", "default", "examples", "required"})
# Each says what an object may have; two of them say it together.
_PARTS = frozenset({"properties", "$ref", "anyOf"})
_OF_OTHERS = frozenset({"additionalProperties", "patternProperties", "minProperties"})
# Without a bound a model that loves line breaks writes them until its tokens are used up.
SCHEMA_OPTIONS = {
    "lenient": False,
    "coerce_one_of": False,
    "whitespace_flexible": True,
    "whitespace_pattern": r"\x20|\x0D?\x0A[\x20\x09]{0,40}",
    "item_separator": ",",
    "key_separator": ":",
}


# Formats with seconds in them, and what has no 60th.
_TIMES = ("time", "date-time")
_NO_LEAP_SECOND = "^[^:]*:[^:]*:[0-5]"

_Schema = TypeVar("_Schema", bound=object)


def check_schema(schema: object, param: str) -> None:
    """Refuse what nobody would obey.

    Args:
        param: What the request calls the schema.

    Raises:
        RequestError: It is too deep or too much, or has a keyword that is not supported.
    """
    for part, depth in _parts(schema):
        if depth > MAX_SCHEMA_DEPTH:
            raise RequestError(f"{param}: expected at most {MAX_SCHEMA_DEPTH} levels, got more", param=param)
        if isinstance(part, dict):
            for keyword in part.keys() & _REFUSED_KEYWORDS:
                raise RequestError(f"{param}: keyword not supported: {keyword}", param=param)
            patterns = part.get("patternProperties")
            if isinstance(patterns, dict) and len(patterns) > MAX_PATTERN_PROPERTIES:
                raise RequestError(
                    f"{param}: expected at most {MAX_PATTERN_PROPERTIES} patternProperties, "
                    f"got {len(patterns)}",
                    param=param,
                )


def without_unnamed(schema: _Schema) -> _Schema:
    """The schema with no properties but those that it names, in objects of which it does not say more.

    What keeps to it keeps to *schema*. A small model adds names of its own until its tokens are used up,
    and most who wrote the schema, or had it made of a class, want none of them.

    Args:
        schema: As `check_schema` accepts it; it is not changed.
    """
    closed = deepcopy(schema)
    parts = [part for part, _ in _parts(closed) if isinstance(part, dict)]
    if not any(_is_composed(part) for part in parts):
        for part in parts:
            if _names_all(part):
                part["additionalProperties"] = False
    return closed


def without_leap_seconds(schema: _Schema) -> _Schema:
    """The schema with no time that ends in 60 seconds.

    llguidance allows them in every minute of every day, and validators in none, or where there was one.

    Args:
        schema: As `check_schema` accepts it; it is not changed.
    """
    timed = deepcopy(schema)
    for part in [part for part, _ in _parts(timed) if isinstance(part, dict)]:
        if part.get("format") in _TIMES:
            together = part.get("allOf")
            others = together if isinstance(together, list) else []
            part["allOf"] = [*others, {"pattern": _NO_LEAP_SECOND}]
    return timed


def _parts(schema: object, depth: int = 0) -> Iterator[tuple[object, int]]:
    """The schema and all that is within it, each with its depth; an outer one before its inner ones."""
    yield schema, depth
    if isinstance(schema, list):
        for one in schema:
            yield from _parts(one, depth + 1)
    elif isinstance(schema, dict):
        for keyword, value in schema.items():
            if keyword in _NAMES and isinstance(value, dict):
                for one in value.values():
                    yield from _parts(one, depth + 2)
            elif keyword not in _DATA:
                yield from _parts(value, depth + 1)


def _is_composed(schema: dict[str, object]) -> bool:
    """Whether several parts speak of one object: what one names, another would forbid, or not exclude."""
    together = schema.get("allOf")
    num_parts = len(together) if isinstance(together, list) else 0
    return "oneOf" in schema or num_parts + len(schema.keys() & _PARTS) > 1


def _names_all(schema: dict[str, object]) -> bool:
    """Whether it names properties, and says nothing of others."""
    properties, required = schema.get("properties"), schema.get("required", [])
    return (
        isinstance(properties, dict)
        and isinstance(required, list)
        and len(properties) > 0
        and not schema.keys() & _OF_OTHERS
        and all(name in properties for name in required)
    )
