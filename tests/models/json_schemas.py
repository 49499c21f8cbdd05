"""Random JSON Schemas over the features that people's schemas have, small enough for a model that babbles."""

from __future__ import annotations

import random
from typing import Any

Schema = dict[str, Any]

# Names as they occur: other alphabets, quotes, spaces, and keywords of JSON Schema.
NAMES = [
    *("name", "id", "Größe", "größer als", "型", 'a"b', "back\\slash", "x-y", ""),
    *("type", "properties", "if", "$ref"),
]
PATTERNS = [
    *("^[a-z]{1,4}$", "^\\d{3}-\\d{2}$", "^(red|green|blue)$", "^[A-Z][a-z]*$"),
    *("b{2,3}", "^\\w+\\.txt$"),
]
FORMATS = ["date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "hostname"]
WORDS = ["yes", "no", "perhaps", "größte", 'qu"ote', "a\\b", "", "1", "null"]


def random_schema(seed: int) -> Schema:
    """The schema of a seed: an object with up to four properties, three levels deep."""
    rng = random.Random(seed)
    defs = {"word": _string(rng), "pair": _tuple(rng, 1), "node": _node(rng)}
    schema = _object(rng, 3)
    schema["$defs"] = defs
    if rng.random() < 0.3:
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def _any(rng: random.Random, depth: int) -> Schema:
    simple = [_string, _number, _integer, _enum, _const, _literal, _reference]
    nested = [_object, _array, _tuple, _any_of, _all_of]
    if depth == 0 or rng.random() < 0.5:
        return rng.choice(simple)(rng)
    return rng.choice(nested)(rng, depth - 1)


def _object(rng: random.Random, depth: int) -> Schema:
    names = rng.sample(NAMES, rng.randint(1, 4))
    schema: Schema = {
        "type": "object",
        "properties": {name: _any(rng, depth - 1 if depth else 0) for name in names},
        "required": rng.sample(names, rng.randint(0, len(names))),
        "additionalProperties": False,
    }
    if rng.random() < 0.2:
        schema |= {"title": "A title", "description": "What it is.", "default": {}, "examples": [{}]}
    if rng.random() < 0.1:
        schema["patternProperties"] = {"^n_[a-z]$": {"type": "integer", "minimum": 0, "maximum": 9}}
        schema["maxProperties"] = len(names) + 1
        schema["required"] = names
    return schema


def _array(rng: random.Random, depth: int) -> Schema:
    least = rng.randint(0, 2)
    return {
        "type": "array",
        "items": _any(rng, depth),
        "minItems": least,
        "maxItems": least + rng.randint(0, 2),
    }


def _tuple(rng: random.Random, depth: int) -> Schema:
    items = [_any(rng, max(0, depth - 1)) if depth else _integer(rng) for _ in range(rng.randint(1, 2))]
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}


def _any_of(rng: random.Random, depth: int) -> Schema:
    return {"anyOf": [_any(rng, depth) for _ in range(rng.randint(2, 3))]}


def _all_of(rng: random.Random, _: int) -> Schema:
    least = rng.randint(1, 3)
    return {"type": "string", "allOf": [{"minLength": least}, {"maxLength": least + 3}]}


def _string(rng: random.Random) -> Schema:
    schema: Schema = {"type": "string"}
    match rng.randrange(4):
        case 0:
            schema["pattern"] = rng.choice(PATTERNS)
            schema["maxLength"] = 12
        case 1:
            schema |= {"format": rng.choice(FORMATS), "maxLength": 40}
        case _:
            least = rng.randint(0, 3)
            schema |= {"minLength": least, "maxLength": least + rng.randint(0, 6)}
    return schema


def _integer(rng: random.Random) -> Schema:
    low = rng.randint(-1000, 1000)
    bounds: Schema = rng.choice(
        [
            {"minimum": low, "maximum": low + rng.randint(0, 500)},
            {"exclusiveMinimum": low, "exclusiveMaximum": low + rng.randint(2, 9)},
            {"minimum": 0, "maximum": 1000, "multipleOf": rng.choice([2, 5, 7])},
        ]
    )
    return {"type": "integer", **bounds}


def _number(rng: random.Random) -> Schema:
    low = round(rng.uniform(-50, 50), rng.randint(0, 2))
    return {"type": "number", "minimum": low, "maximum": low + round(rng.uniform(1, 90), 1)}


def _enum(rng: random.Random) -> Schema:
    values: list[Any] = [*rng.sample(WORDS, 3), rng.randint(-5, 5), None, True]
    return {"enum": rng.sample(values, rng.randint(1, len(values)))}


def _const(rng: random.Random) -> Schema:
    return {"const": rng.choice([{"a": [1, 2.5, None]}, "constant", 17, [], False])}


def _literal(rng: random.Random) -> Schema:
    return {"type": rng.choice(["boolean", "null", ["boolean", "null"]])}


def _reference(rng: random.Random) -> Schema:
    return {"$ref": f"#/$defs/{rng.choice(['word', 'pair', 'node'])}"}


def _node(rng: random.Random) -> Schema:
    """A list of any length; a babbling model ends it soon, for there are many ways to and one not to."""
    return {
        "type": "object",
        "properties": {
            "value": _integer(rng),
            "next": {"anyOf": [{"enum": WORDS}, {"type": "number"}, {"$ref": "#/$defs/node"}]},
        },
        "required": ["value"],
        "additionalProperties": False,
    }
