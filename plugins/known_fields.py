"""Which fields a body may have, at every depth, as its type has them; names are as they stand in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import inspect


@dataclass(slots=True)
class Known:
    """What is known within a value; where anything may stand there is None instead."""

    # Of an object: name, as it stands in JSON with its quotes -> what is known within its value.
    fields: dict[bytes, Known | None] = field(default_factory=dict)
    # Of an array, within each item.
    items: Known | None = None


def known_fields(info: inspect.Type) -> Known | None:
    """All that is known within a body of this type."""
    return _within(info, {})


def alternatives(info: inspect.Type) -> list[inspect.Type]:
    """The types that a value may have."""
    if isinstance(info, inspect.UnionType):
        return [kind for alternative in info.types for kind in alternatives(alternative)]
    return [info]


def _within(info: inspect.Type, found: dict[int, Known | None]) -> Known | None:
    # A type may hold itself; msgspec describes each of them once.
    if id(info) in found:
        return found[id(info)]
    known = found[id(info)] = Known()
    for kind in alternatives(info):
        if isinstance(kind, inspect.ListType):
            known.items = _within(kind.item_type, found)
        elif isinstance(kind, inspect.StructType):
            for one in kind.fields:
                known.fields[b'"%b"' % one.encode_name.encode()] = _within(one.type, found)
    if not (known.fields or known.items):
        found[id(info)] = None
    return found[id(info)]
