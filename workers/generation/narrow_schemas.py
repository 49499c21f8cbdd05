"""JSON Schemas of values that stand between tags: narrowed to JSON that is read as it was meant.

A tag within a text would end the value, and numbers are read as floats. Knows no llguidance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from workers.generation.property_types import ANNOTATIONS, Schema, referred, shared_schemas
from workers.generation.text_patterns import without

# Greater integers are no floats, and longer numbers none at all.
MAX_NUMBER = 10**15
# Arrays and objects inside each other, of which a schema says nothing.
_MAX_FREE_DEPTH = 4
# Of a tag, so many characters tell it from what people write; whole ones make long grammars.
_NUM_TOLD = 7
# Names in objects of which a schema says nothing.
_SOME_NAME = "^[^<]*$"
_TEXT, _FREE = "mlxd-text", "mlxd-any-"
_PARTS = frozenset({"items", "additionalProperties"})
_LISTS = frozenset({"anyOf", "oneOf", "prefixItems"})
_NAMES = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_NUMBERS = frozenset({"number", "integer"})
_ALL = ("string", "number", "boolean", "null", "array", "object")
# Values, or schemas, that say all.
_COMPLETE = frozenset({"enum", "const", "$ref", "anyOf", "oneOf"})
# A pattern of names that may have anything in it.
_LOOSE = re.compile(r"\.|\[\^|\\[DSW]|<")


def narrowed(schema: Schema, root: Schema, never: Sequence[str]) -> dict[str, Any] | None:
    """A schema of its own for a property, all of whose values are those of *schema*.

    Args:
        schema: Of the property.
        root: In which references lead somewhere.
        never: What stands in no text; as for `without`.

    Returns:
        None where the schema refers to what a property does not have in it, or may be read otherwise.
    """
    narrower = _Narrower(root, never)
    try:
        found = narrower.part(schema)
        shared = narrower.part(shared_schemas(root))
    except _Unknown:
        return None
    if not isinstance(found, dict) or not isinstance(shared, dict):
        return None
    return {**found, **_reached(found, {**shared, "$defs": {**shared.get("$defs", {}), **narrower.free()}})}


def _reached(schema: Mapping[str, Any], shared: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those of *shared* that *schema* leads to: each is there once a property."""
    found: dict[str, dict[str, Any]] = {}
    left: list[object] = [schema]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, Mapping):
            left += part.values()
            # A reference may lead into what is shared, and needs all of it then.
            _, group, name, *_ = [*str(part.get("$ref", "")).split("/"), "", "", ""]
            name = name.replace("~1", "/").replace("~0", "~")
            if name in shared.get(group, {}) and name not in found.get(group, {}):
                found.setdefault(group, {})[name] = shared[group][name]
                left.append(shared[group][name])
    return found


class _Unknown(Exception):
    """Something that cannot be told."""


class _Narrower:
    def __init__(self, root: Schema, never: Sequence[str]) -> None:
        self._root = root
        self._never = never
        self._text = without(one[:_NUM_TOLD] for one in never) if never else None

    def part(self, schema: object, *, is_term: bool = False) -> object:
        """The same, narrower.

        Args:
            is_term: It is one of those that hold together, another one of which is narrowed.
        """
        if schema is True:
            return _at(f"{_FREE}{_MAX_FREE_DEPTH}")
        if not isinstance(schema, Mapping):
            return schema
        found = {keyword: self._value(keyword, value, schema) for keyword, value in schema.items()}
        if not found.keys() - ANNOTATIONS and not is_term:
            return {**found, **_at(f"{_FREE}{_MAX_FREE_DEPTH}")}
        if found.keys() & _COMPLETE or ("allOf" in found and "type" not in found):
            self._check(found)
        elif not is_term and found.keys() - _NAMES:
            self._close(found)
        return found

    def free(self) -> dict[str, Any]:
        """What schemas that say nothing refer to."""
        text = {"type": "string", **({"pattern": self._text} if self._text else {})}
        bounds = {"minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
        found: dict[str, Any] = {
            _TEXT: text,
            f"{_FREE}0": {"anyOf": [_at(_TEXT), {"type": ["number", "boolean", "null"], **bounds}]},
        }
        for depth in range(1, _MAX_FREE_DEPTH + 1):
            inner = _at(f"{_FREE}{depth - 1}")
            found[f"{_FREE}{depth}"] = {
                "anyOf": [_at(f"{_FREE}0"), {"type": "array", "items": inner}, self._map(inner)]
            }
        return found

    def _value(self, keyword: str, value: object, schema: Schema) -> object:
        if keyword in _NAMES and isinstance(value, Mapping):
            return {name: self.part(one) for name, one in value.items()}
        if keyword in _PARTS:
            return self.part(value)
        if keyword in _LISTS and isinstance(value, list):
            return [self.part(one) for one in value]
        if keyword == "allOf" and isinstance(value, list):
            return [self.part(one, is_term="type" in schema) for one in value]
        return value

    def _check(self, schema: Schema) -> None:
        """Refuse values that would be read as something else."""
        if "$ref" in schema and referred(schema["$ref"], self._root) is None:
            raise _Unknown
        for value in (schema.get("enum"), schema.get("const")):
            self._check_value(value)

    def _check_value(self, value: object) -> None:
        if isinstance(value, str) and any(one in value for one in self._never):
            raise _Unknown
        if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
            raise _Unknown
        for inner in value if isinstance(value, list) else []:
            self._check_value(inner)
        for name, inner in value.items() if isinstance(value, dict) else []:
            self._check_value(name)
            self._check_value(inner)

    def _close(self, schema: dict[str, Any]) -> None:
        """Say what a schema leaves open."""
        declared = schema.setdefault("type", list(_ALL))
        kinds = frozenset(declared if isinstance(declared, list) else [declared])
        if kinds & _NUMBERS:
            _bound(schema)
        if "string" in kinds and self._text:
            self._close_text(schema, kinds)
        if "array" in kinds:
            schema.setdefault("items", _at(f"{_FREE}{_MAX_FREE_DEPTH - 1}"))
        if "object" in kinds:
            self._close_object(schema)

    def _close_text(self, schema: dict[str, Any], kinds: frozenset[str]) -> None:
        if schema.keys() - ANNOTATIONS == {"type"} and len(kinds) == 1:
            # So it is there once.
            schema.pop("type")
            schema.update(_at(_TEXT))
        elif "pattern" in schema:
            schema["allOf"] = [*schema.get("allOf", []), {"pattern": self._text}]
        else:
            schema["pattern"] = self._text

    def _close_object(self, schema: dict[str, Any]) -> None:
        patterns = schema.get("patternProperties") or {}
        if self._never and any(_LOOSE.search(one) for one in patterns):
            raise _Unknown
        names = schema.get("properties") or {}
        if any(text in name for name in names for text in self._never):
            raise _Unknown
        if patterns or names:
            schema["additionalProperties"] = False
            return
        others = schema.pop("additionalProperties", True)
        if others is not False:
            inner = _at(f"{_FREE}{_MAX_FREE_DEPTH - 1}") if others is True else others
            schema.update({name: one for name, one in self._map(inner).items() if name != "type"})
        else:
            schema["additionalProperties"] = False

    def _map(self, inner: object) -> dict[str, Any]:
        if not self._text:
            return {"type": "object", "additionalProperties": inner}
        return {"type": "object", "patternProperties": {_SOME_NAME: inner}, "additionalProperties": False}


def _at(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _bound(schema: dict[str, Any]) -> None:
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    if least is None:
        schema["minimum"] = -MAX_NUMBER if most is None else min(-MAX_NUMBER, most - MAX_NUMBER)
    if most is None:
        schema["maximum"] = MAX_NUMBER if least is None else max(MAX_NUMBER, least + MAX_NUMBER)
