"""Arguments as Gemma's models write them, JSON with bare names and quotes of their own, as a grammar.

Knows no llguidance. mlx-lm's parsers read them without a look at the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from workers.generation.narrow_schemas import narrowed
from workers.generation.property_types import (
    ANNOTATIONS,
    KINDS,
    Schema,
    kind_of,
    kinds_of,
    referred,
    unforceable,
)
from workers.generation.shared_rules import SharedRules
from workers.generation.tagged_arguments import Piece, checked_properties, separated, sequence
from workers.generation.text_terms import TEXT_KEYWORDS, text_term

_NAME = re.compile(r"[0-9A-Za-z_]+")
_SOME_NAME = "/[A-Za-z_][0-9A-Za-z_]{0,63}/"
# Arrays and objects inside each other, of which a schema says nothing.
_MAX_FREE_DEPTH = 4
_OF_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_OF_ARRAYS = frozenset({"items", "prefixItems", "minItems", "maxItems"})
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})
_KEYWORDS = {
    "string": TEXT_KEYWORDS,
    "number": _OF_NUMBERS,
    "integer": _OF_NUMBERS,
    "array": _OF_ARRAYS,
    "object": _OF_OBJECTS,
}
_COMPOSED = frozenset({"anyOf", "oneOf", "allOf"})


@dataclass(frozen=True, slots=True)
class Bare:
    """How a family writes values."""

    # On both sides of a text.
    quote: str
    # Other texts that no text may have in it: what ends calls.
    others: tuple[str, ...]
    # Whether arrays and objects can be read.
    is_nested: bool = True


def bare_rules(
    bare: Bare, schema: Schema, at: int, piece: Piece, options: Schema, shared: SharedRules
) -> Iterator[str]:
    """The rules of a tool's arguments, the first one called `args` and its number.

    Args:
        schema: Of the arguments, as `check_schema` accepts it.
        at: The number of the tool.
        options: How free JSON is.
        shared: Has the rules of texts and numbers, which go with these.

    Raises:
        TaskNotSupported: There is a property that cannot be written.
    """
    param = f"tools[{at}].function.parameters"
    checked_properties(schema, param)
    values = _Values(bare, schema, at, piece, options, shared)
    values.members(f"args{at}", schema, param)
    yield from values.rules


class _Values:
    """Makes rules of the schemas of one tool."""

    def __init__(
        self, bare: Bare, root: Schema, at: int, piece: Piece, options: Schema, shared: SharedRules
    ) -> None:
        self.rules: list[str] = []
        self._bare = bare
        self._root = root
        self._at = at
        self._piece = piece
        self._options = options
        self._shared = shared
        # The rules of what is referred to, which may refer to itself, and of what is there once.
        self._named: dict[str, str] = {}
        self._num_rules = 0

    def members(self, name: str, schema: Schema, path: str) -> None:
        """The rules of an object's members, without what is around them; the first one is called *name*."""
        properties, required = schema.get("properties") or {}, schema.get("required") or []
        parts = []
        # As the templates have it, and so the models.
        for key, one in sorted(properties.items(), key=lambda item: item[0].lower()):
            where = f"{path}.properties.{key}"
            value = self._value(one, where)
            rule = self._rule(f"{self._key(key, where)} {self._piece(':')} {value}")
            parts.append((rule, key in required))
        self.rules += separated(name, parts, self._piece(","))

    def _value(self, schema: object, path: str) -> str:
        """The name of the rule for a value."""
        if schema is True or (isinstance(schema, Mapping) and not schema.keys() - ANNOTATIONS):
            return self._free(_MAX_FREE_DEPTH if self._bare.is_nested else 0)
        if not isinstance(schema, Mapping):
            raise unforceable(path, "expected a schema")
        keywords = schema.keys() - ANNOTATIONS
        if "$ref" in keywords:
            return self._referred(schema, keywords, path)
        if found := keywords & _COMPOSED:
            return self._composed(schema, keywords, found, path)
        if "enum" in keywords or "const" in keywords:
            return self._one_of(schema, keywords, path)
        declared = schema.get("type", sorted(KINDS))
        kinds = declared if isinstance(declared, list) else [declared]
        known = frozenset({"type"}).union(*(_KEYWORDS.get(kind, ()) for kind in kinds))
        if unknown := sorted(keywords - known):
            raise unforceable(path, f"{unknown[0]} has no grammar here")
        return self._rule(" | ".join(self._of_kind(kind, schema, path) for kind in kinds))

    def _of_kind(self, kind: str, schema: Schema, path: str) -> str:
        if kind == "string":
            return self._text({name: schema[name] for name in schema.keys() & TEXT_KEYWORDS}, path)
        if kind in ("number", "integer"):
            own = {name: schema[name] for name in schema.keys() & _OF_NUMBERS}
            one = narrowed({"type": kind, **own}, {}, ())
            return self._shared.name(f"%json {json.dumps({**(one or {}), 'x-guidance': self._options})}")
        if kind == "boolean":
            return '("true" | "false")'
        if kind == "null":
            return '"null"'
        if kind not in KINDS:
            raise unforceable(path, "expected a type of JSON")
        if not self._bare.is_nested:
            raise unforceable(path, f"its format has no {kind}s")
        return self._array(schema, path) if kind == "array" else self._object(schema, path)

    def _text(self, schema: Schema, path: str) -> str:
        quote = self._bare.quote
        term = text_term(schema, never=(quote, *self._bare.others))
        if term is None:
            raise unforceable(path, "its pattern, format or length is none that a grammar has")
        end = self._piece(quote)
        if end.startswith("<["):
            return f"{end} {self._shared.name(f'({term})', is_terminal=True)} {end}"
        return f"{end} {self._shared.name(f'({term}) {end}', is_terminal=True)}"

    def _array(self, schema: Schema, path: str) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        first = schema.get("prefixItems", [])
        if not isinstance(first, list) or not all(isinstance(one, int) for one in (least, most or 0)):
            raise unforceable(path, "expected numbers of items")
        items = schema.get("items", True)
        parts = [
            (self._value(one, f"{path}.prefixItems[{number}]"), number < least)
            for number, one in enumerate(first[:most])
        ]
        rest = '""'
        left = None if most is None else most - len(parts)
        if items is not False and left != 0:
            item = self._value(items, f"{path}.items")
            need = max(0, least - len(parts))
            upper = "" if left is None else str(left)
            if not parts:
                # The first one has no comma before it.
                more = f"({self._piece(',')} {item}){{{max(0, need - 1)},{'' if left is None else left - 1}}}"
                some = item if left == 1 else f"{item} {more}"
                return f'"[" ({some}{"" if need else " | " + rest}) "]"'
            rest = f"({self._piece(',')} {item}){{{need},{upper}}}"
        elif least > len(parts):
            raise unforceable(path, "fewer items than it has to have")
        if not parts:
            return '"[" "]"'
        return f'"[" {self._tuple(parts, rest)} "]"'

    def _tuple(self, parts: list[tuple[str, bool]], rest: str) -> str:
        """Items each of which is there only if those before it are."""
        for number, (part, is_required) in reversed([*enumerate(parts)]):
            comma = f"{self._piece(',')} " if number else ""
            rest = f"({comma}{part} {rest})" + ("" if is_required else "?")
        return rest

    def _object(self, schema: Schema, path: str) -> str:
        others = schema.get("additionalProperties", True)
        if not {*schema.get("required", [])} <= schema.get("properties", {}).keys():
            raise unforceable(path, "what is required is none of its properties")
        if schema.get("properties") or others is False:
            name = self._new_name("members")
            self.members(name, schema, path)
            return f'"{{" {name} "}}"'
        return self._map(self._value(others, f"{path}.additionalProperties"))

    def _map(self, value: str) -> str:
        name = self._shared.name(_SOME_NAME, is_terminal=True)
        member = f"{name} {self._piece(':')} {value}"
        return f'"{{" ({member} ({self._piece(",")} {member})* | "") "}}"'

    def _free(self, depth: int) -> str:
        """Any value."""
        name = f"any{self._at}_{depth}"
        if name not in self._named:
            self._named[name] = name
            ways = [self._of_kind(kind, {}, "") for kind in ("string", "number", "boolean", "null")]
            if depth:
                inner = self._free(depth - 1)
                comma = self._piece(",")
                ways += [f'"[" ({inner} ({comma} {inner})* | "") "]"', self._map(inner)]
            self.rules.append(f"{name}: {' | '.join(ways)}")
        return name

    def _referred(self, schema: Schema, keywords: Set[str], path: str) -> str:
        reference = schema["$ref"]
        found = referred(reference, self._root)
        if found is None or keywords - {"$ref"}:
            raise unforceable(path, "expected a reference to $defs, and nothing beside it")
        if reference not in self._named:
            name = self._named[reference] = self._new_name("ref")
            self.rules.append(f"{name}: {self._value(found, f'{path}.$ref')}")
        return self._named[reference]

    def _composed(self, schema: Schema, keywords: Set[str], found: Set[str], path: str) -> str:
        (keyword, *more) = sorted(found)
        parts = schema[keyword]
        # What stands beside it would hold, too.
        if more or keywords - found or not isinstance(parts, list) or not parts:
            raise unforceable(path, f"{keyword}, and something else")
        if keyword == "allOf" and len(parts) > 1:
            raise unforceable(path, "allOf has no grammar here")
        if keyword == "oneOf" and not self._are_apart(parts):
            raise unforceable(path, "oneOf of values that may be alike has no grammar here")
        return self._rule(
            " | ".join(self._value(one, f"{path}.{keyword}[{number}]") for number, one in enumerate(parts))
        )

    def _are_apart(self, parts: list[Any]) -> bool:
        """Whether no value is one of two."""
        kinds = [one.get("type") for one in parts if isinstance(one, Mapping)]
        kinds = ["number" if one == "integer" else one for one in kinds if isinstance(one, str)]
        return len({*kinds}) == len(parts)

    def _one_of(self, schema: Schema, keywords: Set[str], path: str) -> str:
        values = schema.get("enum", [schema.get("const")])
        says_more = keywords - {"type", "enum", "const"} or {"enum", "const"} <= keywords
        if says_more or not isinstance(values, list):
            raise unforceable(path, "its values, and something else")
        kinds = kinds_of(schema, self._root)
        ways = [self._literal(one, path) for one in values if kind_of(one) in kinds]
        if not ways:
            raise unforceable(path, "there is no value of its type")
        return self._rule(" | ".join(ways))

    def _literal(self, value: Any, path: str) -> str:
        """A value itself."""
        if isinstance(value, str):
            if any(one in value for one in (self._bare.quote, *self._bare.others)):
                raise unforceable(path, f"{value!r} would be read as something else")
            return sequence(self._piece, self._bare.quote, value, self._bare.quote)
        if not isinstance(value, list | dict):
            return json.dumps(json.dumps(value))
        if not self._bare.is_nested:
            raise unforceable(path, "its format has no arrays and objects")
        comma = f" {self._piece(',')} "
        if isinstance(value, list):
            return f'"[" {comma.join(self._literal(one, path) for one in value)} "]"'
        members = (
            f"{self._key(key, path)} {self._piece(':')} {self._literal(one, path)}"
            for key, one in value.items()
        )
        return f'"{{" {comma.join(members)} "}}"'

    def _key(self, key: str, path: str) -> str:
        if _NAME.fullmatch(key):
            return self._piece(key)
        quote = self._bare.quote
        if not self._bare.is_nested or any(one in key for one in (quote, *self._bare.others)):
            raise unforceable(path, "such a name cannot be written")
        return sequence(self._piece, quote, key, quote)

    def _rule(self, body: str) -> str:
        """The name of the rule with this body, which is there once."""
        if body not in self._named:
            name = self._named[body] = self._new_name("value")
            self.rules.append(f"{name}: {body}")
        return self._named[body]

    def _new_name(self, kind: str) -> str:
        self._num_rules += 1
        return f"{kind}{self._at}_{self._num_rules}"
