"""Texts that models write as they are, between tags or quotes, as terminals. Knows no llguidance."""

from __future__ import annotations

from collections.abc import Iterable

from workers.generation.property_types import ANNOTATIONS, Schema
from workers.generation.text_patterns import found_in, literal

# What a schema may say of such a text, besides its values.
TEXT_KEYWORDS = ANNOTATIONS | {"type", "pattern", "minLength", "maxLength", "format"}
_MAX_LENGTH = 65_536
_CHARACTER = "(?s:.)"
# What `str.strip` leaves alone.
_STRIPPED = r"([^\s\x1c-\x1f]((?s:.*)[^\s\x1c-\x1f])?)?"

_LABEL = r"[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
_DAY = (
    r"[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    r"|02-(0[1-9]|1[0-9]|2[0-8]))"
    r"|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP = r"[0-9a-fA-F]{1,4}"
# What JSON Schema's formats surely have in them; RFC 3339, 5321, 1123, 4291, 4122 and 3986.
_FORMATS = {
    "date": _DAY,
    "time": _CLOCK,
    "date-time": f"({_DAY})T{_CLOCK}",
    "email": rf"[0-9A-Za-z_+-]{{1,32}}(\.[0-9A-Za-z_+-]{{1,31}})?@{_LABEL}(\.{_LABEL}){{1,3}}",
    "hostname": rf"{_LABEL}(\.{_LABEL}){{0,3}}",
    "ipv4": rf"({_BYTE}\.){{3}}{_BYTE}",
    "ipv6": f"({_GROUP}:){{7}}{_GROUP}|({_GROUP}:){{1,3}}(:{_GROUP}){{1,4}}|::({_GROUP}(:{_GROUP}){{0,5}})?",
    "uuid": "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "uri": rf"[a-z][0-9a-z+.-]{{0,15}}:\/\/{_LABEL}(\.{_LABEL}){{0,3}}(:[0-9]{{1,4}})?"
    r"(\/[0-9A-Za-z._~!$&'()*+,;=:@-]*)*([?][0-9A-Za-z._~!$&'()*+,;=:@\/?-]*)?(#[0-9A-Za-z._~!$&'()*+,;=:@\/?-]*)?",
}


def text_term(
    schema: Schema,
    *,
    never: Iterable[str],
    unlike: Iterable[str] = (),
    of: str = _CHARACTER,
    is_stripped: bool = False,
) -> str | None:
    """The body of a terminal for all texts of *schema*; None where a grammar cannot say what it does.

    Args:
        schema: With `TEXT_KEYWORDS` only.
        never: What stands in no text.
        unlike: What is no text, as regular expressions.
        of: One character, as a regular expression.
        is_stripped: The reader takes white space off at both ends.
    """
    lengths = _lengths(schema)
    if lengths is None:
        return None
    terms = [f"/{of}{lengths}/"]
    if "pattern" in schema:
        pattern = found_in(schema["pattern"]) if isinstance(schema["pattern"], str) else None
        if pattern is None:
            return None
        terms.append(f"/{pattern}/")
    if "format" in schema:
        if schema["format"] not in _FORMATS:
            return None
        terms.append(f"/{_FORMATS[schema['format']]}/")
    if is_stripped and schema.keys() & {"pattern", "minLength", "maxLength", "format"}:
        terms.append(f"/{_STRIPPED}/")
    found = "|".join(map(literal, never))
    refused = [f"(?s:.*)({found})(?s:.*)", *unlike] if found else [*unlike]
    return " & ".join([*terms, *(f"~/{one}/" for one in refused)])


def _lengths(schema: Schema) -> str | None:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    for one in (least, most if most is not None else 0):
        if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one <= _MAX_LENGTH:
            return None
    if most is None:
        return f"{{{least},}}" if least else "*"
    return f"{{{least},{most}}}" if least <= most else None
