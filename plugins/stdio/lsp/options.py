"""What an editor's configuration says: with `initialize`, and whenever it changes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from plugins.stdio.lsp.shapes import Shape

# What an editor calls our section of its settings.
SECTION = "mlxd"


class Options(Shape, frozen=True, forbid_unknown_fields=True):
    """The keys of the editor's section."""

    # "": `models.default` of mlxd's settings.
    model: Annotated[str, Meta(max_length=256)] = ""
    # Of one offer. Longer ones take longer, and are read by nobody at each keystroke.
    max_tokens: Annotated[int, Meta(ge=1, le=1024)] = 64
    # Of the text before and after the cursor: what a small model reads in good time.
    max_chars_before: Annotated[int, Meta(ge=100, le=1_000_000)] = 6000
    max_chars_after: Annotated[int, Meta(ge=0, le=1_000_000)] = 2000


def read_options(said: Raw) -> Options:
    """The options of `initialize`: ours, or an object that has our section; null is the defaults.

    Raises:
        msgspec.ValidationError: A key is wrong.
    """
    content = msgspec.json.decode(said)
    if isinstance(content, dict) and SECTION in content:
        content = content[SECTION]
    # An empty table is an empty array in Lua.
    return msgspec.convert(content or {}, Options)


def read_settings(said: Raw, first: Options) -> Options:
    """The options of the editor's settings, which may be about others alone; what they do not say is *first*.

    Raises:
        msgspec.ValidationError: A key is wrong.
    """
    content = msgspec.json.decode(said) or {}
    if isinstance(content, dict):
        ours = content.keys() & msgspec.to_builtins(first).keys()
        content = content.get(SECTION, content if ours else {}) or {}
    if not isinstance(content, dict):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(content).__name__}`")
    return msgspec.convert({**msgspec.to_builtins(first), **content}, Options)
