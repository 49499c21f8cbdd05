"""What a setting may be: its type in words, and whether a value is of that type. Knows no sources."""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Iterable
from typing import Any, get_type_hints

import msgspec
import msgspec.inspect
from msgspec import Struct

from transports.errors import ConfigError

# A wrong value is quoted in the error up to this many characters.
MAX_QUOTED = 80


def describe(type_: msgspec.inspect.Type) -> str:
    """What a setting of this type takes, in words: "an integer, 0 to 65535"."""
    match type_:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(str(v) for v in values)
        case msgspec.inspect.IntType():
            return "an integer" + _limits(type_)
        case msgspec.inspect.FloatType():
            return "a number" + _limits(type_)
        case msgspec.inspect.StrType():
            return "a text"
        case msgspec.inspect.VarTupleType():
            return "a list of texts"
        case msgspec.inspect.DictType():
            return "a table of texts"
        case msgspec.inspect.UnionType():
            # TOML has no null: None is what was not given.
            (given,) = (one for one in type_.types if not isinstance(one, msgspec.inspect.NoneType))
            return describe(given)
        case _:
            raise TypeError(f"settings.py uses a type that has no description: {type_}")


# Any: an annotation may be a class, Annotated or Literal, and typing has no name for all of them.
def convert(where: str, annotation: Any, value: object, *, strict: bool) -> object:
    """*value* in its setting's type; text is converted unless *strict*.

    Raises:
        ConfigError: It cannot be; the message begins with *where*.
    """
    try:
        checked = msgspec.convert(value, annotation, strict=strict)
    except msgspec.ValidationError:
        checked = None
    # Infinity passes a lower limit, and no setting has a meaning for it.
    if checked is None or (isinstance(checked, float) and not math.isfinite(checked)):
        expected = describe(msgspec.inspect.type_info(annotation))
        raise ConfigError(f"{where}: expected {expected}, got {quote(value)}")
    return checked


def fields_of(section: type[Struct]) -> dict[str, msgspec.inspect.Type]:
    """The types of a section's settings by key, in the order of settings.py."""
    info = msgspec.inspect.type_info(section)
    if not isinstance(info, msgspec.inspect.StructType):
        raise TypeError(f"settings.py: {section.__name__} is not a struct")
    return {field.name: field.type for field in info.fields}


@functools.cache
def annotations_of(section: type[Struct]) -> dict[str, Any]:  # Any: as above.
    """The annotations of a section's settings by key."""
    return get_type_hints(section, include_extras=True)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def quote(value: object) -> str:
    """A value on one line, without control characters, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def _limits(type_: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    if type_.ge is not None and type_.le is not None:
        return f", {type_.ge} to {type_.le}"
    words = []
    if type_.ge is not None:
        words.append(f"at least {type_.ge}")
    if type_.gt is not None:
        words.append(f"greater than {type_.gt}")
    if type_.le is not None:
        words.append(f"at most {type_.le}")
    if type_.lt is not None:
        words.append(f"less than {type_.lt}")
    return ", " + " and ".join(words) if words else ""
