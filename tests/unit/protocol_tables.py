"""The tables of docs/protocol.md as the code has them."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import msgspec
import msgspec.inspect
from message_strategies import BODIES

from kernel.admin import JOBS
from transports.envelope import Envelope

ROOT = Path(__file__).parents[2]
# Numbers that are written as powers.
POWERS = {-(2**63): "-2^63", 2**63 - 1: "2^63-1", 2**31 - 1: "2^31-1"}


def structs() -> list[type[msgspec.Struct]]:
    """Envelope, every body, and every struct inside one."""
    found: dict[type[msgspec.Struct], None] = {Envelope: None}
    for bodies in BODIES.values():
        for body in bodies:
            _collect(msgspec.inspect.type_info(body), found)
    return list(found)


def rows(struct: type[msgspec.Struct]) -> list[str]:
    """How the table row of each field begins."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    tag = [] if info.tag is None else [f'| `{info.tag_field}` | str | required: `"{info.tag}"` | ']
    return tag + [
        f"| `{field.name}` | {describe(field.type)} | {_default(field)} | " for field in info.fields
    ]


def describe(type_: msgspec.inspect.Type) -> str:
    """A type in the words of msgpack, with its limits."""
    match type_:
        case msgspec.inspect.BoolType():
            return "bool"
        case msgspec.inspect.NoneType():
            return "nil"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            name = "int" if isinstance(type_, msgspec.inspect.IntType) else "float"
            return name + _range(type_.ge, type_.gt, type_.le)
        case msgspec.inspect.StrType(min_length=least, max_length=most):
            return "str" + _length(least, most, "characters")
        case msgspec.inspect.BytesType(min_length=least, max_length=most):
            return "bin" + _length(least, most, "bytes")
        case msgspec.inspect.LiteralType(values=values):
            return ", ".join(f'`"{value}"`' for value in values)
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(describe(one) for one in types)
        case msgspec.inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            return f"array of {describe(item)}" + _length(least, most, "items")
        case msgspec.inspect.DictType(key_type=key, value_type=value, max_length=most):
            return f"map of {describe(key)} to {describe(value)}" + _length(None, most, "items")
        case msgspec.inspect.StructType(cls=cls):
            return cls.__name__
        case _:
            raise TypeError(f"messages.py uses a type that has no words: {type_}")


def operations() -> set[str]:
    """The administrator's operations: what `Administrator.ask` matches, its jobs, and the broker's stop."""
    tree = ast.parse((ROOT / "kernel" / "admin.py").read_text())
    (ask,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "ask"]
    matched = {
        node.value.value
        for node in ast.walk(ask)
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant)
    }
    return {str(name) for name in matched} | JOBS | {"stop"}


def _collect(type_: msgspec.inspect.Type, found: dict[type[msgspec.Struct], None]) -> None:
    match type_:
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            if cls not in found:
                found[cls] = None
                for field in fields:
                    _collect(field.type, found)
        case msgspec.inspect.UnionType(types=types):
            for one in types:
                _collect(one, found)
        case msgspec.inspect.VarTupleType(item_type=item):
            _collect(item, found)
        case _:
            pass


def _default(field: msgspec.inspect.Field) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{json.dumps(field.default_factory())}`"
    if field.default is None:
        return "nil"
    return f"`{json.dumps(msgspec.to_builtins(field.default))}`"


def _range(ge: float | None, gt: float | None, le: float | None) -> str:
    words = []
    if ge is not None:
        words.append(f"≥ {_number(ge)}")
    if gt is not None:
        words.append(f"> {_number(gt)}")
    if le is not None:
        words.append(f"≤ {_number(le)}")
    return f" {', '.join(words)}" if words else ""


def _number(value: float) -> str:
    return POWERS.get(value, f"{value:g}")


def _length(least: int | None, most: int | None, unit: str) -> str:
    if least is None and most is None:
        return ""
    if most is None:
        return f", at least {least} {unit}"
    return f", at most {most} {unit}" if least is None else f", {least} to {most} {unit}"
