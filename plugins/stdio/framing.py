"""Where a message ends on a byte stream: Content-Length headers or lines. Knows nothing of JSON."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from msgspec import Struct

# Of all header lines of one message; the two known ones have 80.
MAX_HEADER_BYTES = 4096
# Header lines of one message.
MAX_HEADERS = 16
# Charsets that Content-Type may name: "utf8" is what early clients of LSP sent.
CHARSETS = frozenset({"utf-8", "utf8"})

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"


class Framing(Enum):
    """How messages are told apart; the answers go the same way."""

    # LSP, vscode-jsonrpc, jsonrpc.el.
    CONTENT_LENGTH = "Content-Length"
    # ACP, MCP, a person in a shell.
    NEWLINE = "newline"


class TooLarge(Struct, frozen=True):
    """A message over the limit was skipped, or is being skipped; the next one is read again."""

    reason: str


class Unreadable(Struct, frozen=True):
    """No telling where the next message begins: nothing more comes."""

    reason: str


Piece: TypeAlias = bytes | TooLarge | Unreadable


def framed(message: bytes, framing: Framing) -> bytes:
    """A message as it goes out."""
    if framing is Framing.NEWLINE:
        return message + b"\n"
    return b"Content-Length: %d\r\n\r\n%b" % (len(message), message)


class Splitter:
    """Bytes in, messages out; takes the framing from the first byte.

    Args:
        max_message_bytes: Of one message; a larger one is not kept.
    """

    def __init__(self, max_message_bytes: int) -> None:
        # None before the first byte.
        self.framing: Framing | None = None
        self._max_bytes = max_message_bytes
        self._buffer = bytearray()
        # Up to here there is no end of a line.
        self._searched = 0
        # Of the body that is awaited; None in front of a header.
        self._length: int | None = None
        # Of a message that is too large: bytes still to come, or all up to the end of its line.
        self._skip_bytes = 0
        self._skips_line = False
        self._is_unreadable = False

    def feed(self, data: bytes) -> list[Piece]:
        """What is complete with *data*, in its order."""
        if self._is_unreadable:
            return []
        self._buffer += data
        if self.framing is None:
            self._detect()
        pieces: list[Piece] = []
        while (piece := self._next()) is not None:
            pieces.append(piece)
            if isinstance(piece, Unreadable):
                self._is_unreadable = True
                self._buffer.clear()
                break
        return pieces

    def end(self) -> list[Piece]:
        """The stream has ended: a last line needs no line end."""
        if self.framing is not Framing.NEWLINE:
            return []
        return self.feed(b"\n")

    def _detect(self) -> None:
        """Headers are Content-Length and Content-Type; whatever else it is, it is answered line by line."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
            return
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        self._strip_blank()
        if self._buffer:
            is_header = bytes(self._buffer[:1]) in (b"C", b"c")
            self.framing = Framing.CONTENT_LENGTH if is_header else Framing.NEWLINE

    def _next(self) -> Piece | None:
        match self.framing:
            case Framing.NEWLINE:
                return self._next_line()
            case Framing.CONTENT_LENGTH:
                return self._next_body()
        return None

    # --- lines ----------------------------------------------------------------------------

    def _next_line(self) -> Piece | None:
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                return self._unfinished_line()
            line = bytes(memoryview(self._buffer)[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            if self._skips_line:
                self._skips_line = False
            elif len(line) > self._max_bytes:
                return self._too_large()
            elif line := line.strip(_BLANK):
                return line

    def _unfinished_line(self) -> Piece | None:
        if self._skips_line:
            self._buffer.clear()
        self._searched = len(self._buffer)
        if len(self._buffer) <= self._max_bytes:
            return None
        self._buffer.clear()
        self._searched = 0
        self._skips_line = True
        return self._too_large()

    # --- headers --------------------------------------------------------------------------

    def _next_body(self) -> Piece | None:
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(self._buffer))
            del self._buffer[:skipped]
            self._skip_bytes -= skipped
            if self._skip_bytes:
                return None
        if self._length is None:
            self._strip_blank()
            problem = self._read_header()
            if problem is not None:
                return problem
        if self._length is None or len(self._buffer) < self._length:
            return None
        body = bytes(memoryview(self._buffer)[: self._length])
        del self._buffer[: self._length]
        self._length = None
        return body

    def _read_header(self) -> Piece | None:
        """Set the length of the body if the whole header is here."""
        lines: list[bytes] = []
        start = 0
        while (end := self._buffer.find(b"\n", start, MAX_HEADER_BYTES)) >= 0:
            line = bytes(self._buffer[start:end]).strip(_BLANK)
            start = end + 1
            if not line:
                del self._buffer[:start]
                return self._parse_header(lines)
            if b":" not in line:
                return Unreadable("header: expected lines of the form NAME: VALUE")
            lines.append(line)
            if len(lines) > MAX_HEADERS:
                return Unreadable(f"header: expected at most {MAX_HEADERS} lines")
        if len(self._buffer) >= MAX_HEADER_BYTES:
            return Unreadable(f"header: expected at most {MAX_HEADER_BYTES} bytes")
        return None

    def _parse_header(self, lines: list[bytes]) -> Piece | None:
        length: int | None = None
        for line in lines:
            name, _, value = line.partition(b":")
            match name.strip().lower():
                case b"content-length":
                    digits = value.strip()
                    # `int` would take signs, underscores and digits of other scripts.
                    if length is not None or not digits.isdigit():
                        return Unreadable("Content-Length: expected one number of bytes")
                    length = int(digits)
                case b"content-type":
                    if (charset := _charset(value)) not in CHARSETS:
                        return Unreadable(f"Content-Type: expected charset utf-8, got {charset!a}")
        if length is None:
            return Unreadable("header: expected Content-Length")
        if length > self._max_bytes:
            self._skip_bytes = length
            return self._too_large()
        self._length = length
        return None

    def _strip_blank(self) -> None:
        """Blank lines between messages are no fault."""
        self._buffer = self._buffer.lstrip(_BLANK)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"message: expected at most {self._max_bytes} bytes (stdio.max_message_bytes)")


def _charset(content_type: bytes) -> str:
    for parameter in content_type.decode("latin-1").lower().split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return value.strip().strip('"')
    return "utf-8"
