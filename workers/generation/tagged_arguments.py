"""Arguments that models write between tags, each as words or as JSON, as a grammar. Knows no llguidance.

What is written there is read by mlx-lm's parser of the family, which goes by the type of a property: texts
that it takes for something else are not written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from workers.generation.narrow_schemas import narrowed
from workers.generation.property_types import ANNOTATIONS, Schema, kinds_of, typed, unforceable
from workers.generation.shared_rules import SharedRules
from workers.generation.text_terms import TEXT_KEYWORDS, text_term

# One of a layout's texts as a grammar has it: a token, or words.
Piece = Callable[[str], str]

_OF_OBJECTS = ANNOTATIONS | {
    *("type", "properties", "required", "additionalProperties", "$defs", "definitions", "$schema")
}
_KEY = re.compile(r"""[^\s<>"'&]+""")
# What `json.loads` takes, and some that it does not; more than white space is around no text.
_AS_JSON = (
    r'\s*"(?s:.*)',
    r"\s*[\[{](?s:.*)[\]}]\s*",
    r"\s*-?[0-9][0-9.eE+-]*\s*",
    r"\s*(true|false|null|NaN|-?Infinity)\s*",
)


@dataclass(frozen=True, slots=True)
class Tags:
    """How a family writes an argument, in pieces. KEY is its name, TYPE its type."""

    before: tuple[str, ...]
    # On both sides of a value; may be empty.
    pad: str = ""
    # May be empty, where all values are JSON.
    end: str = ""
    after: tuple[str, ...] = ()
    # Between two arguments.
    between: str = ""
    # Other texts that no value may have in it: what ends calls.
    others: tuple[str, ...] = ()
    # "json": in quotes, as all other values. "cdata": as they are, or within CDATA.
    texts: Literal["plain", "json", "cdata"] = "plain"
    # The parser takes white space off at both ends of a text.
    strips: bool = False
    # To the parser the text "null" is nothing, whatever the type.
    has_null: bool = False
    # To the parser all that is JSON is no text, whatever the type.
    reads_json: bool = False
    is_key: Callable[[str], object] = _KEY.fullmatch

    @property
    def never(self) -> tuple[str, ...]:
        """What no value may have in it."""
        return tuple(one for one in (self.end, *self.others) if one)


def tagged_rules(
    tags: Tags, schema: Schema, at: int, piece: Piece, options: Schema, shared: SharedRules
) -> Iterator[str]:
    """The rules of a tool's arguments, the first one called `args` and its number.

    Args:
        schema: Of the arguments, as `check_schema` accepts it.
        at: The number of the tool.
        options: How free JSON is.
        shared: Has the rules of values, which go with these.

    Raises:
        TaskNotSupported: There is a property whose values could not be told apart.
    """
    param = f"tools[{at}].function.parameters"
    properties, required = checked_properties(schema, param)
    values = _Values(tags, schema, piece, options, shared)
    arguments = []
    for number, (key, one) in enumerate(properties.items()):
        name, path = f"arg{at}_{number}", f"{param}.properties.{key}"
        if not tags.is_key(key):
            raise unforceable(path, "such a name cannot be written")
        told = typed(one, schema) if isinstance(one, dict) else {}
        kind = str(told.get("type")).replace("integer", "number")
        before = [text.replace("TYPE", kind).replace("KEY", key) for text in tags.before]
        value = values.written(one, told, path)
        yield f"{name}: {sequence(piece, *before, tags.pad)} {value} {sequence(piece, *tags.after)}"
        arguments.append((name, key in required))
    yield from separated(f"args{at}", arguments, sequence(piece, tags.between))


def checked_properties(schema: Schema, param: str) -> tuple[dict[str, object], list[str]]:
    """The properties of a tool's arguments, and which of them have to be there.

    Raises:
        TaskNotSupported: The schema says something else, too.
    """
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list):
        raise unforceable(param, "expected properties, and a list of those that are required")
    if unknown := sorted(schema.keys() - _OF_OBJECTS):
        raise unforceable(param, f"{unknown[0]} says more of the arguments than what each of them may be")
    if not {*required} <= properties.keys():
        raise unforceable(f"{param}.required", "expected names of properties")
    return properties, required


def separated(name: str, parts: list[tuple[str, bool]], between: str) -> Iterator[str]:
    """The rules of *parts* in their order, the first one called *name*; what is False may be missing."""
    rest = '""'
    ways = ['""']
    for number, (part, is_required) in reversed([*enumerate(parts)]):
        ways = [f"{part} {rest}", *([] if is_required else ways)]
        if number:
            more = f"({between} {part})"
            yield f"{name}_{number}: {more if is_required else more + '?'} {rest}"
            rest = f"{name}_{number}"
    yield f"{name}: {' | '.join(ways)}"


def sequence(piece: Piece, *texts: str) -> str:
    """Texts one after the other."""
    return " ".join(piece(text) for text in texts if text)


class _Values:
    """What may be written for the properties of a tool."""

    def __init__(self, tags: Tags, root: Schema, piece: Piece, options: Schema, shared: SharedRules) -> None:
        self._tags = tags
        self._root = root
        self._piece = piece
        self._guidance = {"x-guidance": options}
        self._shared = shared
        self._end = sequence(piece, tags.pad, tags.end)

    def written(self, schema: object, told: Schema, path: str) -> str:
        """A value with what comes after it.

        Args:
            told: The same as *schema*, as `typed` has it.
        """
        if not isinstance(told.get("type"), str):
            raise unforceable(path, "nobody can tell of which type it is")
        ways: list[str] = []
        if told["type"] == "string" and self._tags.texts != "json":
            ways += self._texts(told, path)
            if self._tags.has_null and "null" in kinds_of(schema, self._root):
                ways.append(f'"null" {self._end}')
            if self._tags.reads_json and "enum" not in told:
                ways.append(self._json(told, path))
        else:
            ways.append(self._json(schema, path))
        return ways[0] if len(ways) == 1 else self._shared.name(" | ".join(ways))

    def _json(self, schema: object, path: str) -> str:
        one = narrowed(schema, self._root, self._tags.never) if isinstance(schema, dict) else None
        if one is None:
            raise unforceable(path, "it refers to something else, or would be read as something else")
        return f"{self._shared.name(f'%json {json.dumps({**one, **self._guidance})}')} {self._end}"

    def _texts(self, schema: Schema, path: str) -> list[str]:
        """The ways to write a text with its end."""
        tags = self._tags
        if "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            if schema.keys() - ANNOTATIONS - {"type", "enum", "const"} or not isinstance(values, list):
                raise unforceable(path, "its values, and something else")
            words = [one for one in values if isinstance(one, str)]
            for one in words:
                if not _is_read_as_it_is(one, tags):
                    raise unforceable(path, f"{one!r} would be read as something else")
            return [f"({' | '.join(map(json.dumps, words))}) {self._end}"]
        if unknown := sorted(schema.keys() - TEXT_KEYWORDS):
            raise unforceable(path, f"a text with {unknown[0]}")
        found = _terms(tags, schema)
        if not found:
            raise unforceable(path, "its pattern, format or length is none that a grammar has")
        end = self._piece(tags.end)
        is_token = end.startswith("<[")
        ways = []
        for before, term, after in found:
            inside = after + tags.pad + ("" if is_token else tags.end)
            around = [json.dumps(before) if before else "", f"({term})", json.dumps(inside) if inside else ""]
            name = self._shared.name(" ".join(one for one in around if one), is_terminal=True)
            if before:
                # Of a text that must end here llguidance (1.9) forgets now and then that it has ended.
                name = self._shared.name(name, is_lazy=True)
            ways.append(f"{name} {end}" if is_token else name)
        return ways


def _terms(tags: Tags, schema: Schema) -> list[tuple[str, str, str]]:
    """Terminals of texts, each with what comes before and after it."""
    null = (r"\s*(?i:null)\s*",) if tags.has_null else ()
    unlike = (*null, *(_AS_JSON if tags.reads_json else ()))
    never = tags.never
    if tags.texts == "plain":
        term = text_term(schema, never=never, unlike=unlike, is_stripped=tags.strips)
        return [("", term, "")] if term else []
    # As templates have it: CDATA where XML wants it.
    bare = text_term(schema, never=(), unlike=unlike, of=r"[^<&\n]", is_stripped=True)
    closed = text_term(schema, never=("]]>", *never), unlike=unlike)
    return [("", bare, ""), ("<![CDATA[", closed, "]]>")] if bare and closed else []


def _is_read_as_it_is(text: str, tags: Tags) -> bool:
    if tags.reads_json and re.fullmatch("|".join(f"({one})" for one in _AS_JSON), text):
        return False
    has_tag = any(one in text for one in (*tags.never, *(["<![CDATA["] if tags.texts == "cdata" else [])))
    is_null = tags.has_null and text.lower() == "null"
    return not has_tag and not is_null and (text == text.strip() or not tags.strips)
