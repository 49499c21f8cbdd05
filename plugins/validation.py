"""JSON text to a typed request, or an error that names the field, what is expected and what was there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Generic, ParamSpec, TypeVar

import msgspec
from msgspec import inspect

from plugins.known_fields import Known, alternatives, known_fields
from plugins.strict_json import check_json
from transports.errors import RequestError

# Of a wrong value, characters quoted in the error.
MAX_QUOTED = 40
# Read on the event loop; takes 0.1 ms, and a body of the worst shape 20 ms.
MAX_INLINE_BYTES = 128 * 1024
# Values of a field that are read again to tell of a wrong one: so many take 5 ms, in one go.
MAX_LISTED = 100_000
# msgspec ends its messages with the place: "... - at `$.messages[0].role`".
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`(?:key|value)` in )?`\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
# A field of an object that takes only what it knows.
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_STEP = re.compile(r"(\w+)|\[(\d+)\]")
# Fields whose text is nobody's business, not even in an error.
_PRIVATE = ("messages", "prompt", "suffix", "input", "query", "documents", "system")
# The fields of a body as they were sent.
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Stands for a number that JSON can write and no machine type holds.
_OUT_OF_RANGE = object()
# Stands for a value in a field of so many that it was not read again.
_UNREAD = object()

T = TypeVar("T", bound=msgspec.Struct)
P = ParamSpec("P")
R = TypeVar("R")


class Reader(Generic[T]):
    """Reads the bodies of one route.

    Args:
        type_: The route's body.
        strict: Refuse fields that are unknown; not those within others, which come back with answers.
        without_effect: Fields that are known, and only told to have none.
    """

    def __init__(self, type_: type[T], *, strict: bool, without_effect: frozenset[str] = frozenset()) -> None:
        self._type = type_
        self._strict = strict
        self._without_effect = without_effect
        self._decoder = msgspec.json.Decoder(type_)

    @cached_property
    def _known(self) -> Known | None:
        return known_fields(_type_info(self._type))

    async def read_aside(self, data: bytes | bytearray) -> tuple[T, list[str]]:
        """`read`, in a thread when others would notice: of a large body, and of the first."""
        # What is known of the type takes 3 to 11 ms to find out.
        is_known = "_known" in vars(self)
        return await aside(len(data) if is_known else MAX_INLINE_BYTES, self.read, data)

    def read(self, data: bytes | bytearray) -> tuple[T, list[str]]:
        """Check and decode a body.

        Returns:
            The request, and the names of those of its fields that have no effect, also within others.

        Raises:
            RequestError: Malformed or not as the type has it; `param` is the field at fault.
        """
        unknown = check_json(data, self._known)
        try:
            body = self._decoder.decode(data)
        except msgspec.ValidationError as e:
            raise self._explained(e, data) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise RequestError(f"body: {_malformed(e)}") from None
        strange = [name for name in unknown.own if name not in self._without_effect]
        if self._strict and strange:
            name = quoted(strange[0])
            raise RequestError(f"{name}: not a field of this route (strict = true)", param=name)
        return body, [*unknown.own, *unknown.within]

    def _explained(self, error: msgspec.ValidationError, data: bytes | bytearray) -> RequestError:
        match = _PLACE.match(str(error))
        what, path = (match["what"], match["path"] or "") if match else (str(error), "")
        if missing := _MISSING.search(what):
            path = f"{path}.{missing[1]}" if path else missing[1]
            return RequestError(f"{path}: required, and missing", param=path)
        if unknown := _UNKNOWN.search(what):
            names = _names(_info_at(self._type, path))
            path = f"{path}.{quoted(unknown[1])}"
            return RequestError(f"{path}: not a field; expected one of {names}", param=path)
        # A place among the values of an object has no name there.
        path = path.removesuffix("[...]")
        if not path:
            return RequestError(f"body: {what.replace('`', '')}")
        is_private = path.startswith(_PRIVATE) and not path.endswith("].role")
        found = _found(self._value_at(data, path), is_private=is_private)
        return RequestError(
            f"{path}: expected {describe(_info_at(self._type, path))}, got {found}", param=path
        )

    # Any: a value of the client's JSON, of whatever type.
    def _value_at(self, data: bytes | bytearray, path: str) -> Any:
        (outermost, _), *steps = _STEP.findall(path)
        try:
            # Of the other fields one may be a megabyte of numbers.
            field = bytes(_FIELDS.decode(data).get(outermost, b"null"))
            if field.count(b",") > MAX_LISTED:
                return _UNREAD
            value: Any = msgspec.json.decode(field)
        except msgspec.ValidationError:
            return _OUT_OF_RANGE
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            # Behind the wrong value, where the typed decoder has not come to.
            raise RequestError(f"body: {_malformed(e)}") from None
        for name, index in steps:
            if name and isinstance(value, dict):
                value = value.get(name)
            elif index and isinstance(value, list) and int(index) < len(value):
                value = value[int(index)]
        return value


async def aside(num_bytes: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call *function*, in a thread when it is about a body so large that others would notice."""
    if num_bytes < MAX_INLINE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def quoted(text: str, limit: int = MAX_QUOTED) -> str:
    """*text* for an error message: printable and short."""
    printable = "".join(c if c.isprintable() else "?" for c in text[: limit + 1])
    return printable if len(printable) <= limit else printable[:limit] + "…"


# --- what was expected ------------------------------------------------------------------------


def _info_at(type_: type[msgspec.Struct], path: str) -> inspect.Type:
    """The type at *path*; as far down as the path can be followed."""
    info = _type_info(type_)
    for name, _ in _STEP.findall(path):
        info = _child(info, name) or info
    return info


@cache
def _type_info(type_: type[msgspec.Struct]) -> inspect.Type:
    # Of a body of ours it takes 3 ms, in which nobody else is answered.
    return inspect.type_info(type_)


def _child(info: inspect.Type, name: str) -> inspect.Type | None:
    """One step down: into the field *name*, or into an array when *name* is empty."""
    for kind in alternatives(info):
        if name and isinstance(kind, inspect.StructType):
            return next((field.type for field in kind.fields if field.encode_name == name), None)
        if not name and isinstance(kind, inspect.ListType):
            return kind.item_type
    return None


def _names(info: inspect.Type) -> str:
    """The names of its fields."""
    structs = [kind for kind in alternatives(info) if isinstance(kind, inspect.StructType)]
    return ", ".join(field.encode_name for struct in structs for field in struct.fields)


def describe(info: inspect.Type) -> str:
    """A type with its bounds in plain words; null is never mentioned."""
    words = [_describe_one(kind) for kind in alternatives(info) if not isinstance(kind, inspect.NoneType)]
    return " or ".join(dict.fromkeys(words))


def _describe_one(info: inspect.Type) -> str:
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return str(info.ge) if info.ge is not None and info.ge == info.le else f"an integer{_range(info)}"
        case inspect.FloatType():
            return f"a number{_range(info)}"
        case inspect.StrType(max_length=longest, pattern=pattern):
            length = f" of {info.min_length or 0} to {longest} characters" if longest else ""
            return f"a string{length}" + (f" that matches {pattern}" if pattern else "")
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case inspect.ListType(max_length=longest):
            return "a list" + (f" of {info.min_length or 0} to {longest} items" if longest else "")
        case inspect.DictType(max_length=longest):
            keys = "token ids" if isinstance(info.key_type, inspect.IntType) else "names"
            return f"an object of at most {longest} {keys}, each with {describe(info.value_type)}"
        case _:
            return "an object"


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    low = f"({info.gt:g}" if info.gt is not None else f"[{info.ge}" if info.ge is not None else ""
    high = f"{info.lt:g})" if info.lt is not None else f"{info.le}]" if info.le is not None else ""
    return f" in {low}, {high}" if low and high else ""


# --- what was found ---------------------------------------------------------------------------


# Any: a value of the client's JSON, of whatever type.
def _found(value: Any, *, is_private: bool) -> str:
    if value is _OUT_OF_RANGE:
        return "a number beyond all limits"
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return quoted(str(value))
        case str() if is_private:
            return "a string"
        case str():
            return f'"{quoted(value)}"'
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
    return "something else"


def _malformed(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if "truncated" in str(error):
        # msgspec's words for half a surrogate pair, too.
        return "JSON is malformed: it ends too early, or holds half a surrogate pair"
    return str(error)
