"""Which types of JSON an argument may have, and what parsers are told of that. Knows no llguidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transports.errors import TaskNotSupported

# Any: a schema as JSON has it, of whoever sent it.
Schema = Mapping[str, Any]

ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated"})
# An integer is a number.
KINDS = frozenset({"string", "number", "boolean", "null", "array", "object"})
_MAX_REFERENCES = 16
# What refers to other places means another one once a property stands alone.
_SHARED = ("$defs", "definitions")


def unforceable(param: str, why: str) -> TaskNotSupported:
    """The error for a schema that a family's calls cannot be held to."""
    return TaskNotSupported(f"{param}: cannot be forced as this model writes calls: {why}", param=param)


def shared_schemas(root: Schema) -> dict[str, Any]:
    """What all properties may refer to."""
    return {name: root[name] for name in _SHARED if isinstance(root.get(name), Mapping)}


def typed_definitions(definitions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tools as mlx-lm's parsers take them: each property has its type in it, if anything is known of it."""
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
    """What a property may be besides null, with its type in it.

    Of several types it is "object": the parsers read any JSON then, and what is none as text.

    Args:
        schema: Of the property.
        root: In which references lead somewhere.
    """
    for _ in range(_MAX_REFERENCES):
        inner = _only(schema, root)
        if inner is None:
            break
        schema = {**inner, **{name: one for name, one in schema.items() if name in ANNOTATIONS}}
    if isinstance(schema.get("type"), str):
        return schema
    kinds = kinds_of(schema, root) - {"null"}
    if len(kinds) > 1:
        return {**{name: one for name, one in schema.items() if name in ANNOTATIONS}, "type": "object"}
    declared = schema.get("type")
    others = [one for one in declared if one != "null"] if isinstance(declared, list) else []
    return {**schema, "type": others[0] if len(others) == 1 else kind} if (kind := "".join(kinds)) else schema


def kinds_of(schema: object, root: Schema) -> frozenset[str]:
    """The types of JSON that a value may have; none where nobody can tell."""
    return _kinds(schema, root, {}, 0)


def kind_of(value: object) -> str:
    """The type of a value of JSON."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def referred(reference: object, root: Schema) -> object:
    """What a reference leads to; None: nothing that all properties share."""
    if not isinstance(reference, str) or not reference.startswith(tuple(f"#/{name}/" for name in _SHARED)):
        return None
    found: object = root
    for name in reference[2:].split("/"):
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def _kinds(schema: object, root: Schema, known: dict[str, frozenset[str]], depth: int) -> frozenset[str]:
    """See `kinds_of`; *known* are those of references, which may lead back here, and in many ways."""
    if schema is True:
        return KINDS
    if not isinstance(schema, Mapping) or depth > _MAX_REFERENCES:
        return frozenset()
    found = KINDS
    if "$ref" in schema:
        reference = str(schema["$ref"])
        if reference not in known:
            known[reference] = frozenset()
            known[reference] = _kinds(referred(reference, root), root, known, depth + 1)
        found &= known[reference]
    if "type" in schema:
        declared = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        found &= frozenset("number" if one == "integer" else one for one in declared if isinstance(one, str))
    for values in (schema.get("enum"), [schema["const"]] if "const" in schema else None):
        if isinstance(values, list):
            found &= frozenset(map(kind_of, values))
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(parts := schema.get(keyword), list):
            kinds = [_kinds(one, root, known, depth + 1) for one in parts]
            found &= KINDS.intersection(*kinds) if keyword == "allOf" else frozenset().union(*kinds)
    return found


def _only(schema: Schema, root: Schema) -> Schema | None:
    """What *schema* refers to, or the one alternative that it has besides null."""
    if "$ref" in schema:
        found = referred(schema["$ref"], root)
        return found if isinstance(found, Mapping) else None
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(parts := schema.get(keyword), list):
            others = [one for one in parts if isinstance(one, Mapping) and one.get("type") != "null"]
            return others[0] if len(others) == 1 else None
    return None
