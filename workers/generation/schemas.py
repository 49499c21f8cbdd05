"""JSON Schemas as they are compiled: what they may say, and how free the JSON is. Knows no llguidance."""

from __future__ import annotations

from transports.errors import RequestError

# Objects and arrays inside each other; OpenAI has 10, llguidance stops at 128.
MAX_SCHEMA_DEPTH = 64
# What a schema may not say about how it is compiled; and what older drafts had and llguidance passes over.
_REFUSED_KEYWORDS = frozenset({"x-guidance", "divisibleBy", "disallow", "extends"})
# Values of these are names or data, and no keywords.
_NAMES = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_DATA = frozenset({"enum", "const", "default", "examples", "required"})
# Without a bound a model that loves line breaks writes them until its tokens are used up.
SCHEMA_OPTIONS = {
    "lenient": False,
    "coerce_one_of": False,
    "whitespace_flexible": True,
    "whitespace_pattern": r"\x20|\x0D?\x0A[\x20\x09]{0,40}",
    "item_separator": ",",
    "key_separator": ":",
}


def check_schema(schema: object, param: str, depth: int = 0) -> None:
    """Refuse what nobody would obey.

    Args:
        param: What the request calls the schema.

    Raises:
        RequestError: It is too deep, or has a keyword that is not supported.
    """
    if depth > MAX_SCHEMA_DEPTH:
        raise RequestError(f"{param}: expected at most {MAX_SCHEMA_DEPTH} levels, got more", param=param)
    if isinstance(schema, list):
        for one in schema:
            check_schema(one, param, depth + 1)
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in _REFUSED_KEYWORDS:
            raise RequestError(f"{param}: keyword not supported: {keyword}", param=param)
        if keyword in _NAMES and isinstance(value, dict):
            for one in value.values():
                check_schema(one, param, depth + 2)
        elif keyword not in _DATA:
            check_schema(value, param, depth + 1)
