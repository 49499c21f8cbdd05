"""JSON without what some readers take for the end of a line."""

from __future__ import annotations

# Line ends to str.splitlines, which some clients use on an event stream; legal JSON text unescaped.
_ENDS = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


def one_line(encoded: bytes) -> bytes:
    """JSON as an encoder made it, with those escaped; they stand in its strings only."""
    if encoded.isascii():
        return encoded
    for raw, escaped in _ENDS:
        encoded = encoded.replace(raw, escaped)
    return encoded
