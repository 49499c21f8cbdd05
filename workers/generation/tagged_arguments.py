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
    properties, required = checked_properties(schema, param)
    arguments = []
    for number, (key, one) in enumerate(properties.items()):
        name = f"{at}_{number}"
        path = f"{param}.properties.{key}"
        if not tags.is_key(key):
            raise unforceable(path, "such a name cannot be written")
        told = typed(one, schema) if isinstance(one, dict) else {}
        kind = str(told.get("type")).replace("integer", "number")
        before = [text.replace("TYPE", kind).replace("KEY", key) for text in tags.before]
        value, rules = _value(tags, one, told, schema, name, path, piece, options)
        yield f"arg{name}: {sequence(piece, *before)} {value} {sequence(piece, *tags.after)}"
        yield from rules
        arguments.append((f"arg{name}", key in required))
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


def _value(
    tags: Tags,
    schema: object,
    told: Schema,
    root: Schema,
    name: str,
    path: str,
    piece: Piece,
    options: Schema,
) -> tuple[str, list[str]]:
    """A value with what is around it, and the rules of which it is made."""
    if not isinstance(told.get("type"), str):
        raise unforceable(path, "nobody can tell of which type it is")
    pad, end = sequence(piece, tags.pad), sequence(piece, tags.pad, tags.end)
    if told["type"] == "string" and tags.texts != "json":
        ways, rules = _texts(tags, told, name, path, piece)
        if tags.has_null and "null" in kinds_of(schema, root):
            ways.append(f'"null" {end}')
    else:
        ways, rules = [], []
    if not ways or (tags.reads_json and "enum" not in told):
        one = narrowed(schema if not ways else told, root, tags.never) if isinstance(schema, dict) else None
        if one is None:
            raise unforceable(path, "it refers to something else, or would be read as something else")
        ways.append(f"%json {json.dumps({**one, 'x-guidance': options})} {end}")
    if len(ways) == 1:
        return f"{pad} {ways[0]}", rules
    rules += [f"value{name}: {' | '.join(ways)}"]
    return f"{pad} value{name}", rules


def _texts(tags: Tags, schema: Schema, name: str, path: str, piece: Piece) -> tuple[list[str], list[str]]:
    """The ways to write a text with its end, and the terminals in them."""
    end = sequence(piece, tags.pad, tags.end)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        if schema.keys() - ANNOTATIONS - {"type", "enum", "const"} or not isinstance(values, list):
            raise unforceable(path, "its values, and something else")
        words = [one for one in values if isinstance(one, str)]
        for one in words:
            if not _is_read_as_it_is(one, tags):
                raise unforceable(path, f"{one!r} would be read as something else")
        return [f"({' | '.join(map(json.dumps, words))}) {end}"], []
    if unknown := sorted(schema.keys() - TEXT_KEYWORDS):
        raise unforceable(path, f"a text with {unknown[0]}")
    found = _terms(tags, schema)
    if not found:
        raise unforceable(path, "its pattern, format or length is none that a grammar has")
    ways, rules = [], []
    for number, (before, term, after) in enumerate(found):
        around = [after + tags.pad, tags.end]
        is_token = piece(tags.end).startswith("<[")
        inside = "".join(around[:1] if is_token else around)
        terminal = f"TEXT{name}_{number}"
        start = f"{json.dumps(before)} " if before else ""
        rules.append(f"{terminal}: {start}({term}) {json.dumps(inside) if inside else ''}")
        ways.append(f"{terminal} {piece(tags.end)}" if is_token else terminal)
    return ways, rules


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
