"""Random JSON Schemas of tools' arguments: what people's tools have, and what some formats cannot say."""

from __future__ import annotations

import random
from typing import Any

from json_schemas import FORMATS, PATTERNS, WORDS, random_schema

Schema = dict[str, Any]

NAMES = ["city", "at", "n", "days_ahead", "Zip", "type", "text", "list_of"]
# Not every format can write these.
ODD_NAMES = {"gemma4": ["x-y", "from", "größe"], "function_gemma": ["from"], "pythonic": ["größe"]}
_PATTERNS = [*PATTERNS, "^\\S+$", "^[^<>]{2,20}$", "^(a|b)|c$", "x/y", "^.{3}$", "\\d$"]


def arguments_schema(seed: int, family: str) -> Schema:
    """The schema of a seed: an object with up to five properties, most of which *family* can write."""
    rng = random.Random(seed)
    odd = ODD_NAMES.get(family, ["x-y", "from", "größe"])
    names = rng.sample([*NAMES, *odd], rng.randint(0, 5))
    schema: Schema = {
        "type": "object",
        "properties": {name: _property(rng, 0 if family == "function_gemma" else 2) for name in names},
        "required": rng.sample(names, rng.randint(0, len(names))),
        "$defs": {
            "color": {"enum": ["red", "green"]},
            "text": {"type": "string", "description": "Some text."},
            "tree": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "inner": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2},
                },
                "required": ["name"],
            },
            **random_schema(seed)["$defs"],
        },
    }
    if rng.random() < 0.5:
        schema["additionalProperties"] = False
    return schema


def _property(rng: random.Random, depth: int) -> Schema:
    flat = [_text, _text, _text_of, _nullable, _values, _integer, _number, _boolean, _either, _reference]
    nested = [_array, _object, _map, _free, _tree, _any, _of_others]
    found = rng.choice(flat + nested if depth else flat)(rng, depth)
    return {**found, "description": "What it is."} if rng.random() < 0.2 else found


def _text(_: random.Random, __: int) -> Schema:
    return {"type": "string"}


def _text_of(rng: random.Random, _: int) -> Schema:
    match rng.randrange(4):
        case 0:
            return {"type": "string", "pattern": rng.choice(_PATTERNS)}
        case 1:
            return {"type": "string", "format": rng.choice(FORMATS)}
        case 2:
            return {"type": "string", "pattern": "^[a-z<>/]+$", "maxLength": 12, "minLength": 2}
    least = rng.randint(0, 3)
    return {"type": "string", "minLength": least, "maxLength": least + rng.randint(0, 9)}


def _nullable(rng: random.Random, _: int) -> Schema:
    one = rng.choice([{"type": "string"}, {"type": "integer"}, {"type": "string", "maxLength": 4}])
    if rng.random() < 0.5:
        return {**one, "type": [one["type"], "null"]}
    return {"anyOf": [one, {"type": "null"}], "default": None}


def _values(rng: random.Random, _: int) -> Schema:
    words = rng.sample([*WORDS, "red", " padded ", "</parameter>", "5"], 3)
    match rng.randrange(4):
        case 0:
            return {"type": "string", "enum": ["celsius", "fahrenheit"]}
        case 1:
            return {"enum": [*words, 7, None, True, 1.5]}
        case 2:
            return {"const": rng.choice([5, "fixed", True])}
    return {"type": "string", "enum": words}


def _integer(rng: random.Random, _: int) -> Schema:
    low = rng.randint(-50, 50)
    return rng.choice(
        [
            {"type": "integer"},
            {"type": "integer", "minimum": low, "maximum": low + 20},
            {"type": "integer", "minimum": 0},
        ]
    )


def _number(rng: random.Random, _: int) -> Schema:
    return rng.choice([{"type": "number"}, {"type": "number", "exclusiveMinimum": 0, "maximum": 1}])


def _boolean(_: random.Random, __: int) -> Schema:
    return {"type": "boolean"}


def _either(rng: random.Random, _: int) -> Schema:
    return rng.choice(
        [
            {"type": ["string", "integer"]},
            {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "number", "minimum": 10}]},
            {"type": ["boolean", "string", "null"]},
            {"type": ["integer", "boolean"]},
        ]
    )


def _reference(rng: random.Random, _: int) -> Schema:
    return {"$ref": rng.choice(["#/$defs/color", "#/$defs/text"])}


def _tree(_: random.Random, __: int) -> Schema:
    return {"$ref": "#/$defs/tree"}


def _array(rng: random.Random, depth: int) -> Schema:
    bounds = rng.choice([{}, {"minItems": 1}, {"minItems": 1, "maxItems": 3}, {"maxItems": 2}])
    return {"type": "array", "items": _property(rng, depth - 1), **bounds}


def _object(rng: random.Random, depth: int) -> Schema:
    names = rng.sample(NAMES, rng.randint(1, 3))
    return {
        "type": "object",
        "properties": {name: _property(rng, depth - 1) for name in names},
        "required": rng.sample(names, rng.randint(0, len(names))),
    }


def _map(rng: random.Random, depth: int) -> Schema:
    return {"type": "object", "additionalProperties": _property(rng, depth - 1)}


def _free(rng: random.Random, _: int) -> Schema:
    return {"type": rng.choice(["object", "array"])}


def _any(rng: random.Random, _: int) -> Schema:
    return rng.choice([{}, {"description": "Anything."}])


def _of_others(rng: random.Random, depth: int) -> Schema:
    if rng.random() < 0.5:
        one = {"type": "array", "items": {"type": "string"}}
        return {"anyOf": [{"type": "string"}, one]}
    found: Schema = random_schema(rng.randrange(10**6))
    return {name: one for name, one in found.items() if name not in ("$defs", "$schema")} if depth else {}
