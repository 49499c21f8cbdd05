"""Arguments that models write between tags, each as words or as JSON, as a grammar. Knows no llguidance.

What is written there is read by mlx-lm's parser of the family, which goes by the type of a property: only
properties of one type can be forced, and texts that the parser takes for something else are not written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transports.errors import TaskNotSupported

# Any: a schema as JSON has it, of whoever sent it.
Schema = Mapping[str, Any]
# One of a layout's texts as a grammar has it: a token, or words.
Piece = Callable[[str], str]

_MAX_REFERENCES = 16
_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated"})
_OF_OBJECTS = _ANNOTATIONS | {
    *("type", "properties", "required", "additionalProperties", "$defs", "definitions", "$schema")
}
_KEY = re.compile(r"""[^\s<>"']+""")
# The parsers read numbers as floats.
_NUMBERS = frozenset({"integer", "number"})
_BOUNDS = {"minimum": -(10**15), "maximum": 10**15}
_JSON = frozenset({"integer", "number", "boolean", "object", "array"})


@dataclass(frozen=True, slots=True)
class Tags:
    """How a family writes an argument, in pieces. KEY is its name."""

    before: tuple[str, ...]
    # On both sides of a value; may be empty.
    pad: str
    end: str
    after: str
    # Ends the call, so that no value may have it in it.
    call_end: str


def tagged_rules(tags: Tags, schema: Schema, at: int, piece: Piece, options: Schema) -> Iterator[str]:
    """The rules of a tool's arguments, the first one called `args` and its number.

    Args:
        schema: Of the arguments, as `check_schema` accepts it.
        at: The number of the tool.
        options: How free JSON is.

    Raises:
        TaskNotSupported: There is a property whose values could not be told apart.
    """
    param = f"tools[{at}].function.parameters"
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list) or schema.keys() - _OF_OBJECTS:
        raise _unknown(param)
    if not {*required} <= properties.keys():
        raise _unknown(f"{param}.required")
    names = []
    for number, (key, one) in enumerate(properties.items()):
        name = f"arg{at}_{number}"
        value = _value(tags, one, schema, piece, options)
        if value is None or not _KEY.fullmatch(key):
            raise _unknown(f"{param}.properties.{key}")
        before = " ".join(piece(text.replace("KEY", key)) for text in tags.before)
        yield f"{name}: {before} {value.replace('WORDS', f'words{at}')} {piece(tags.after)}"
        names.append(name if key in required else f"{name}?")
    yield f"args{at}: {' '.join(names)}" if names else f'args{at}: ""'
    # Lazy up to its end: "null" is nothing to the parsers, whatever the type.
    ends = "|".join(re.escape(one).replace("/", r"\/") for one in (tags.end, tags.call_end))
    text = f"/(?s:.*)/ & ~/(?s:.*)({ends})(?s:.*)/ & ~/(?i:\\s*null\\s*)/"
    end = piece(tags.end)
    is_token = end.startswith("<[")
    yield f"words{at}: WORDS{at} {end}" if is_token else f"words{at}[suffix={end}]: WORDS{at}"
    yield f"WORDS{at}: {text}"


def typed_definitions(definitions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tools as mlx-lm's parsers take them: each property has its type in it, where it has one."""
    found = []
    for definition in definitions:
        function = definition["function"]
        root = function["parameters"]
        properties = root.get("properties")
        if isinstance(properties, dict):
            told = {
                key: typed(one, root) if isinstance(one, dict) else one for key, one in properties.items()
            }
            function = {**function, "parameters": {**root, "properties": told}}
        found.append({**definition, "function": function})
    return found


def typed(schema: Schema, root: Schema) -> Schema:
    """What a property may be besides null, with its type in it: where that is one type.

    Args:
        schema: Of the property.
        root: In which references lead somewhere.
    """
    for _ in range(_MAX_REFERENCES):
        inner = _only(schema, root)
        if inner is None:
            break
        schema = {**inner, **{name: one for name, one in schema.items() if name in _ANNOTATIONS}}
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"]
        return {**schema, "type": kinds[0]} if len(kinds) == 1 else schema
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if kind is None and isinstance(values, list) and values and all(isinstance(one, str) for one in values):
        return {**schema, "type": "string"}
    return schema


def _only(schema: Schema, root: Schema) -> Schema | None:
    """What *schema* refers to, or the one alternative that it has besides null."""
    if isinstance(path := schema.get("$ref"), str) and path.startswith("#/"):
        found: object = root
        for name in path[2:].split("/"):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else None
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(parts := schema.get(keyword), list):
            others = [one for one in parts if isinstance(one, Mapping) and one.get("type") != "null"]
            return others[0] if len(others) == 1 else None
    return None


def _value(tags: Tags, schema: object, root: Schema, piece: Piece, options: Schema) -> str | None:
    """A value and its end; None where there is no telling how it would be read."""
    if not isinstance(schema, Mapping):
        return None
    schema = typed(schema, root)
    kind, constrained = schema.get("type"), schema.keys() - _ANNOTATIONS - {"type"}
    if kind == "string" and not constrained:
        return f"{_padding(tags, piece)} WORDS"
    if kind == "string":
        values = schema.get("enum", [schema.get("const")])
        if constrained - {"enum", "const"} or not isinstance(values, list):
            return None
        if not all(isinstance(one, str) and _is_read_as_it_is(one, tags) for one in values):
            return None
        written = f"({' | '.join(map(json.dumps, values))})"
    elif isinstance(kind, str) and kind in _JSON:
        bounds = _BOUNDS if kind in _NUMBERS else {}
        shared = {name: root[name] for name in ("$defs", "definitions") if name in root}
        written = "%json " + json.dumps({**bounds, **schema, **shared, "x-guidance": options})
    else:
        return None
    padding = _padding(tags, piece)
    return f"{padding} {written} {padding} {piece(tags.end)}"


def _padding(tags: Tags, piece: Piece) -> str:
    return piece(tags.pad) if tags.pad else ""


def _is_read_as_it_is(text: str, tags: Tags) -> bool:
    has_tag = tags.end in text or tags.call_end in text
    return bool(text) and text == text.strip() and text.lower() != "null" and not has_tag


def _unknown(param: str) -> TaskNotSupported:
    return TaskNotSupported(
        f"{param}: cannot be forced as this model writes calls: each argument has to be of one type, a text "
        "without a pattern or length",
        param=param,
    )
