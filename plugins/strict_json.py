"""What msgspec lets pass in JSON and we do not: duplicate keys, deep nesting, a flood of values.

Knows nothing of requests. The typed decoder runs after this and reports what is malformed.
"""

from __future__ import annotations

import re

import msgspec

from transports.errors import RequestError

# Deeper than any request or tool schema seen.
MAX_DEPTH = 64
# Strings and brackets: Open WebUI's 36 tools are 3,000. Bounds the scan to some 50 ms.
MAX_TOKENS = 50_000
# Beside plain strings: numbers, spaces, short strings, and those with escapes or other letters than
# ASCII's. A library reads 20 MB of these in one go, in which nobody else is answered.
MAX_DENSE_BYTES = 4 * 1024 * 1024
# A duplicate key is quoted in the error up to here, characters.
MAX_QUOTED = 40

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


def check_json(data: bytes | bytearray) -> list[str]:
    """Refuse valid JSON that two readers could understand differently or that costs too much.

    Returns:
        The keys of the outermost object.

    Raises:
        RequestError: Not UTF-8, a duplicate key, nested too deep, or too many values.
    """
    try:
        # A picture in base64 is, and this is the quicker look.
        if not (is_ascii := data.isascii()):
            data.decode()
    except UnicodeDecodeError as e:
        raise RequestError(f"body: expected UTF-8, got byte 0x{data[e.start]:02x} at {e.start}") from None
    if data.startswith(b"\xef\xbb\xbf"):
        raise RequestError("body: expected JSON without a byte order mark")
    if MAX_TOKENS < len(data) <= MAX_COUNTED_BYTES and _has_flood(data):
        raise _flooded()
    # The keys of each open object; None stands for an array.
    open_: list[dict[bytes, None] | None] = []
    outermost: dict[bytes, None] = {}
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
            elif bracket == ARRAY:
                open_.append(None)
            else:
                open_.append({} if open_ else outermost)
        elif kind == _QUOTE:
            end, is_plain = _end_of_string(data, end - 1, is_ascii=is_ascii)
            num_plain += is_plain * (end - token.end())
            if open_ and _COLON.match(data, end):
                _add_key(open_[-1], data[token.end() - 1 : end])
        elif kind == _KEY and open_:
            _add_key(open_[-1], token[_TEXT])
        # A call for each token would take a tenth of the time.
        if end - num_plain > MAX_DENSE_BYTES:
            _check_dense(end - num_plain)
        token = _TOKEN.match(data, end)
    # No match: more between two tokens than there may be in all.
    _check_dense(len(data) - num_plain if token is None else token.end() - num_plain)
    return [key[1:-1].decode() for key in outermost]


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


def _add_key(keys: dict[bytes, None] | None, text: bytes | bytearray) -> None:
    if keys is None:
        return
    # "\u0061" and "a" are the same key.
    key = _unescaped(text) if b"\\" in text else bytes(text)
    if key in keys:
        quoted = key[1:-1].decode()[:MAX_QUOTED]
        raise RequestError(f'body: the key "{quoted}" is there twice')
    keys[key] = None


def _unescaped(text: bytes | bytearray) -> bytes:
    try:
        return b'"' + msgspec.json.decode(text, type=str).encode() + b'"'
    except msgspec.DecodeError:
        return bytes(text)
