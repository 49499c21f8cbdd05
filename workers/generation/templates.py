"""The sandbox of chat templates, in which no operation makes much out of little.

jinja's own sandbox keeps a template from the interpreter, but not from memory: `'a' * 10**9` is one
operation, which nothing interrupts.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jinja2 import Environment
from jinja2.compiler import CodeGenerator
from jinja2.nodes import Concat, EvalContext
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

from workers.generation.rendering import TemplateLimit, check_size

# Of a width, a count or an indent; and bits of an integer.
_MAX_COUNT = 100_000
_MAX_BITS = 4096
_LARGE_WIDTH = re.compile(r"\d{6}")
# Filters and methods of texts that take one.
_COUNTING = frozenset(
    {"batch", "center", "expandtabs", "format", "format_map", "indent", "ljust", "rjust", "round", "slice"}
    | {"tojson", "truncate", "urlize", "wordwrap", "zfill"}
)

# Any: what templates compute with.
Value = Any


def bound_templates() -> None:
    """From now on transformers renders chat templates in this sandbox; before the first one."""
    chat_template_utils.ImmutableSandboxedEnvironment = BoundedEnvironment


class _BoundedCode(CodeGenerator):  # type: ignore[misc]  # untyped base
    """Joins with `~` as it joins everything else."""

    def visit_Concat(self, node: Concat, frame: Value) -> None:  # noqa: N802 - jinja's name
        self.write("concat(map(str, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")


class _Filters(dict[str, Callable[..., Value]]):
    """Each is bounded when it is put in."""

    @classmethod
    def of(cls, known: Mapping[str, Callable[..., Value]]) -> _Filters:
        filters = cls()
        for name, function in known.items():
            filters[name] = function
        return filters

    def __setitem__(self, name: str, function: Callable[..., Value]) -> None:
        @functools.wraps(function)
        def bounded(*arguments: Value, **named: Value) -> Value:
            # Some get jinja's environment or context first.
            values = [one for one in arguments if not isinstance(one, Environment | Context | EvalContext)]
            _check_call(name, values[0] if values else "", [*values[1:], *named.values()])
            return _checked(function(*arguments, **named))

        super().__setitem__(name, bounded)


class BoundedEnvironment(ImmutableSandboxedEnvironment):  # type: ignore[misc]  # untyped base
    """See the module; what is too much raises `TemplateLimit`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _BoundedCode

    def __init__(self, *arguments: Value, **named: Value) -> None:
        super().__init__(*arguments, **named)
        self.filters: _Filters = _Filters.of(self.filters)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join *parts*, as far as they come."""
        joined, size = [], 0
        for part in parts:
            joined.append(part)
            size += len(part)
            check_size(size)
        return "".join(joined)

    def handle_exception(self, source: str | None = None) -> None:
        """See `Environment.handle_exception`: raises what is being handled."""
        # jinja looks for the template's line, and raises a TypeError where the stopped code has none.
        if isinstance(error := sys.exc_info()[1], TemplateLimit):
            raise error
        super().handle_exception(source)

    def call_binop(self, context: Value, operator: str, left: Value, right: Value) -> Value:
        """See `SandboxedEnvironment.call_binop`."""
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left, operator, right)
        elif operator == "*":
            # One of them is a number.
            check_size(_size(left) * right if _size(left) else _size(right) * left)
        elif operator == "%" and isinstance(left, str):
            _check_call("format", left, right if isinstance(right, tuple) else (right,))
        return _checked(super().call_binop(context, operator, left, right))

    def call(self, context: Value, function: Value, *arguments: Value, **named: Value) -> Value:
        """See `SandboxedEnvironment.call`."""
        # jinja wraps `format`.
        text = getattr(getattr(function, "__wrapped__", function), "__self__", None)
        if isinstance(text, str):
            # What gives its items only once could not be measured.
            arguments = tuple(list(one) if hasattr(one, "__next__") else one for one in arguments)
            _check_call(function.__name__, text, [*arguments, *named.values()])
        return _checked(super().call(context, function, *arguments, **named))


def _check_bits(left: int, operator: str, right: int) -> None:
    bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
    if bits > _MAX_BITS:
        raise TemplateLimit(f"it computes with numbers of more than {_MAX_BITS} bits")


def _check_call(name: str, value: Value, arguments: Sequence[Value]) -> None:
    """Refuse a filter or a method of a text whose result would be far larger than what it is given."""
    if name in _COUNTING and any(isinstance(one, int) and abs(one) > _MAX_COUNT for one in arguments):
        raise TemplateLimit(f"it asks {name} for a width or count of more than {_MAX_COUNT}")
    match name, value, arguments:
        case "format" | "format_map", str(), _ if _LARGE_WIDTH.search(value):
            raise TemplateLimit(f"it asks {name} for a width of more than {_MAX_COUNT}")
        case "replace", str(), [str(old), str(new), *_]:
            check_size(value.count(old) * len(new))
        case "join", str(), [list() | tuple() as parts, *_]:
            check_size(sum(_size(part) + len(value) for part in parts))
        case "join", list() | tuple(), _:
            check_size(sum(_size(part) + sum(map(_size, arguments[:1])) for part in value))
        case "translate", _, _:
            raise TemplateLimit("it calls translate, which templates may not")
        case _:
            pass


def _checked(value: Value) -> Value:
    check_size(_size(value))
    return value


def _size(value: Value) -> int:
    """Characters or items."""
    return len(value) if isinstance(value, str | bytes | list | tuple) else 0
