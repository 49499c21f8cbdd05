"""How much time and room a chat template gets. Knows no jinja.

A template comes with a model: it is foreign code, and runs in the engine's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from workers.generation.deadline import within

# A long conversation takes milliseconds.
MAX_RENDER_S = 2.0
# Of what a template makes, beyond a few times what it is given.
MAX_RENDER_CHARS = 4 * 1024 * 1024
_CHARS_PER_CHAR = 4

T = TypeVar("T")


class TemplateLimit(Exception):
    """A template wants more than it gets; the message says of what."""


class _Limits:
    """Of the rendering that is under way."""

    max_chars = MAX_RENDER_CHARS


def limited(num_chars: int, render: Callable[[], T]) -> T:
    """What *render* gives; it gets `MAX_RENDER_S`, and `check_size` knows how much it may make.

    Args:
        num_chars: What it is given.
    """
    _Limits.max_chars = MAX_RENDER_CHARS + _CHARS_PER_CHAR * num_chars
    return within(MAX_RENDER_S, TemplateLimit(f"it takes more than {MAX_RENDER_S:g} s"), render)


def num_chars(value: object) -> int:
    """In all texts within *value*, as it is given to a template; of what is no text about as many."""
    match value:
        case str():
            return len(value)
        case Mapping():
            return sum(num_chars(key) + num_chars(one) for key, one in value.items())
        case list() | tuple():
            return sum(map(num_chars, value))
        case _:
            return len(str(value))


def check_size(num_items: int) -> None:
    """Refuse a text or list of so many characters or items.

    Raises:
        TemplateLimit: They are too many.
    """
    if num_items > _Limits.max_chars:
        raise TemplateLimit(f"it makes more than {_Limits.max_chars} characters")
