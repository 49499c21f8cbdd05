"""What msgspec lets pass in JSON and we do not: duplicate keys, deep nesting, a flood of values.

The typed decoder runs after this and reports what is malformed; here fields are found that it passes over.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import NamedTuple

import msgspec

from plugins.known_fields import Known
from transports.errors import RequestError

# Deeper than any request or tool schema seen.
MAX_DEPTH = 64
# Strings and brackets: Open WebUI's 36 tools are 3,000. Bounds the scan to some 50 ms.
MAX_TOKENS = 50_000
# Beside plain strings: numbers, spaces, short strings, and those with escapes or other letters than
# ASCII's. A library reads 20 MB of these in one go, in which nobody else is answered.
MAX_DENSE_BYTES = 4 * 1024 * 1024
# Of a key; property names of tool schemas are far shorter. Each is looked up and copied.
MAX_KEY_BYTES = 16 * 1024
# A duplicate key is quoted in the error up to here, characters.
MAX_QUOTED = 40
# A step of the path to an unknown field, bytes.
MAX_STEP_BYTES = 64
# Of a body that is not ASCII, looked at in one go; an emoji makes four bytes of each one.
UTF8_CHUNK_BYTES = 1024 * 1024

# Skips numbers, commas and spaces; then a bracket, or a string that may be a key, or the end. Possessive
# (`++`), so a hostile body cannot make it look twice. The quote alone is that of a string with escapes, or
# of a longer one: `re` takes 5 ms for each MB of a picture.
_TOKEN = re.compile(
    rb'[^"{}\[\]]{0,%d}+(?:([{}\[\]])|("[^"\\]{0,100}+")([ \t\r\n]*+:)?|(")|(\Z))' % MAX_DENSE_BYTES
)
# A body up to here is counted before it is looked at, in one go: that takes some 5 ms, and a flood of values
# is refused in a tenth of the time.
MAX_COUNTED_BYTES = 1024 * 1024
# A string, also without its end: behind a quote there is always a match, so nothing is looked at twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = (b"{", b"}", b"[", b"]")
# The groups of a token: the last one that matched is what was found; a key is a text with a colon behind it.
_BRACKET, _TEXT, _KEY, _QUOTE, _END = range(1, 6)
BACKSLASH, ARRAY = ord("\\"), ord("[")
_COLON = re.compile(rb"[ \t\r\n]*+:")


class Unknown(NamedTuple):
    """Fields that nobody knows, in their order."""

    # Of the outermost object.
    own: list[str]
    # The paths of those deeper within, each kind where it first stands.
    within: list[str]


class _Open:
    """An object or array whose end has not come."""

    # Thousands are made in one go.
    __slots__ = ("key", "keys", "known", "num_values")

    def __init__(self, known: Known | None, keys: set[bytes] | None) -> None:
        self.known = known
        # None of an array.
        self.keys = keys
        # The last one.
        self.key = b""
        # Of an array, but for numbers and the like, which stand in none with objects.
        self.num_values = 0

    def known_of_next(self) -> Known | None:
        """What is known within the value that begins."""
        self.num_values += 1
        if self.known is None:
            return None
        return self.known.items if self.keys is None else self.known.fields.get(self.key)


def check_json(data: bytes | bytearray, known: Known | None = None) -> Unknown:
    """Refuse valid JSON that two readers could understand differently or that costs too much.

    Args:
        data: The JSON.
        known: The fields that may be in it.

    Returns:
        Those that are in it besides.

    Raises:
        RequestError: Not UTF-8, a duplicate key, nested too deep, or too many values.
    """
    # A picture in base64 is, and this is the quicker look.
    if not (is_ascii := data.isascii()):
        _check_utf8(data)
    if data.startswith(b"\xef\xbb\xbf"):
        raise RequestError("body: expected JSON without a byte order mark")
    if MAX_TOKENS < len(data) <= MAX_COUNTED_BYTES and _has_flood(data):
        raise _flooded()
    open_: list[_Open] = []
    unknown = Unknown([], [])
    # What of the unknown has been named: in which kind of object, and the key.
    named: set[tuple[int, bytes]] = set()
    num_tokens = num_plain = 0
    # `match` and not `finditer`: that would search on behind an unterminated string, again and again.
    token = _TOKEN.match(data)
    while token and (kind := token.lastindex) != _END:
        num_tokens += 1
        if num_tokens > MAX_TOKENS:
            raise _flooded()
        end = token.end()
        if kind == _BRACKET:
            bracket = data[end - 1]
            if bracket in b"}]":
                if open_:
                    open_.pop()
            elif len(open_) == MAX_DEPTH:
                raise RequestError(f"body: expected nesting of at most {MAX_DEPTH} levels")
            else:
                inside = open_[-1].known_of_next() if open_ else known
                open_.append(_Open(inside, None if bracket == ARRAY else set()))
        elif kind == _QUOTE:
            end, is_plain = _end_of_string(data, end - 1, is_ascii=is_ascii)
            num_plain += is_plain * (end - token.end())
            if open_ and _COLON.match(data, end):
                _check_key_size(end - token.end())
                _add_key(open_, data[token.end() - 1 : end], unknown, named)
            elif open_:
                open_[-1].num_values += 1
        elif kind == _KEY and open_:
            _add_key(open_, token[_TEXT], unknown, named)
        elif open_:
            open_[-1].num_values += 1
        # A call for each token would take a tenth of the time.
        if end - num_plain > MAX_DENSE_BYTES:
            _check_dense(end - num_plain)
        token = _TOKEN.match(data, end)
    # No match: more between two tokens than there may be in all.
    _check_dense(len(data) - num_plain if token is None else token.end() - num_plain)
    return unknown


def _check_utf8(data: bytes | bytearray) -> None:
    decoder = getincrementaldecoder("utf-8")()
    for begin in range(0, len(data), UTF8_CHUNK_BYTES):
        chunk = data[begin : begin + UTF8_CHUNK_BYTES]
        # Of a character that was cut in two.
        num_before = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=begin + len(chunk) == len(data))
        except UnicodeDecodeError as e:
            at = begin - num_before + e.start
            raise RequestError(f"body: expected UTF-8, got byte 0x{data[at]:02x} at {at}") from None


def _has_flood(data: bytes | bytearray) -> bool:
    """Whether there are more strings and brackets than may be."""
    if sum(map(data.count, _BRACKETS)) + data.count(b'"') // 2 <= MAX_TOKENS:
        return False
    # Brackets in strings are none.
    rest, num_strings = _STRING.subn(b"", data)
    return num_strings + sum(map(rest.count, _BRACKETS)) > MAX_TOKENS


def _flooded() -> RequestError:
    return RequestError(f"body: expected at most {MAX_TOKENS} strings, objects and arrays")


def _check_dense(num_bytes: int) -> None:
    if num_bytes > MAX_DENSE_BYTES:
        raise RequestError(
            f"body: expected at most {MAX_DENSE_BYTES} bytes beside strings of plain ASCII without escapes"
        )


def _end_of_string(data: bytes | bytearray, start: int, *, is_ascii: bool) -> tuple[int, bool]:
    """Behind the string that begins at *start*, and whether it is plain ASCII without escapes.

    A string without an end goes to the end of the data.
    """
    quote = data.find(b'"', start + 1)
    end = quote if quote >= 0 else len(data)
    if data.find(b"\\", start, end) < 0:
        return min(end + 1, len(data)), is_ascii or data[start:end].isascii()
    while quote >= 0:
        _check_dense(quote - start)
        # An even number of backslashes are escapes of each other.
        before = quote
        while data[before - 1] == BACKSLASH:
            before -= 1
        if (quote - before) % 2 == 0:
            return quote + 1, False
        quote = data.find(b'"', quote + 1)
    return len(data), False


def _check_key_size(num_bytes: int) -> None:
    if num_bytes > MAX_KEY_BYTES:
        raise RequestError(f"body: expected keys of at most {MAX_KEY_BYTES} bytes, got one of {num_bytes}")


def _add_key(
    open_: list[_Open], text: bytes | bytearray, unknown: Unknown, named: set[tuple[int, bytes]]
) -> None:
    inside = open_[-1]
    if inside.keys is None:
        return
    # "\u0061" and "a" are the same key.
    key = inside.key = _unescaped(text) if b"\\" in text else bytes(text)
    if key in inside.keys:
        quoted = key[1:-1].decode()[:MAX_QUOTED]
        raise RequestError(f'body: the key "{quoted}" is there twice')
    inside.keys.add(key)
    if inside.known is None or key in inside.known.fields:
        return
    kind = (id(inside.known), key)
    if kind not in named:
        named.add(kind)
        names = unknown.own if len(open_) == 1 else unknown.within
        names.append("".join(map(_step, open_)).removeprefix("."))


def _step(inside: _Open) -> str:
    """From the beginning of an object or array to where it is being read."""
    if inside.keys is None:
        return f"[{inside.num_values - 1}]"
    return "." + inside.key[1:-1][:MAX_STEP_BYTES].decode(errors="ignore")


def _unescaped(text: bytes | bytearray) -> bytes:
    try:
        return b'"' + msgspec.json.decode(text, type=str).encode() + b'"'
    except msgspec.DecodeError:
        return bytes(text)
