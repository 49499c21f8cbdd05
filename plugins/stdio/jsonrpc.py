"""JSON-RPC 2.0 messages: bytes to requests, notifications and responses, and back. Knows no methods."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

# What JSON-RPC 2.0 and LSP 3.17 (section "Error codes") call what went wrong.
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_NOT_INITIALIZED: Final = -32002
REQUEST_CANCELLED: Final = -32800
REQUEST_FAILED: Final = -32803

# An id as a key: 1 and 1.0 are the same to JSON.
Key: TypeAlias = str | int | float | None

NULL = Raw(b"null")
# A member that is not there.
_ABSENT = Raw()


class RpcError(Exception):
    """A request ends in this error; *data* is anything that can be encoded."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Request(Struct, frozen=True):
    """Somebody waits for an answer."""

    # As it was written: the answer has the same characters.
    id: Raw
    key: Key
    method: str
    params: Raw


class Notification(Struct, frozen=True):
    """Never answered, whatever is wrong with it."""

    method: str
    params: Raw


class Response(Struct, frozen=True):
    """The answer to a request of ours; `error` is None if it went well."""

    key: Key
    result: Raw
    error: Raw | None


class Invalid(Struct, frozen=True):
    """Something that gets an error with this id, and nothing else."""

    id: Raw
    error: RpcError


Message: TypeAlias = Request | Notification | Response | Invalid


class _Members(Struct, frozen=True):
    """Those of all kinds of messages, undecoded."""

    jsonrpc: Raw = _ABSENT
    id: Raw = _ABSENT
    method: Raw = _ABSENT
    params: Raw = _ABSENT
    result: Raw = _ABSENT
    error: Raw = _ABSENT


# A pair, half of one, or another escape; of which only half a pair is changed.
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)

_decode_members = msgspec.json.Decoder(_Members).decode
_decode_batch = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


# --- read -------------------------------------------------------------------------------------


def read(data: bytes) -> Message | list[Message]:
    """One message, or those of a batch.

    Half a surrogate pair, which an editor gets by cutting a string of UTF-16, is read as U+FFFD.
    """
    messages = _read(data)
    if isinstance(messages, Invalid) and messages.error.code == PARSE_ERROR and _HALF_PAIR.search(data):
        messages = _read(_HALF_PAIR.sub(_whole, data))
    return messages


def _read(data: bytes) -> Message | list[Message]:
    if not data.startswith(b"["):
        return _message(data)
    try:
        batch = _decode_batch(data)
    except (msgspec.DecodeError, RecursionError):
        return _malformed()
    # JSON-RPC 2.0, section 6: an empty array is one invalid request.
    if not batch:
        return _invalid(NULL, "batch: expected at least one message")
    return [_message(item) for item in batch]


def _message(data: bytes | Raw) -> Message:
    try:
        members = _decode_members(data)
    except msgspec.ValidationError:
        return _invalid(NULL, "message: expected an object")
    except (msgspec.DecodeError, RecursionError):
        return _malformed()
    try:
        id_, key = _id(members.id)
    except RpcError as e:
        return Invalid(NULL, e)
    if bytes(members.jsonrpc) != b'"2.0"':
        return _invalid(id_, 'jsonrpc: expected "2.0"')
    if not bytes(members.method):
        return _response(members, id_, key)
    method = _text(members.method)
    if method is None:
        return _invalid(id_, "method: expected a string")
    # A picture's megabytes are not copied for this. Absent is null, as vscode-jsonrpc writes it.
    params = members.params if memoryview(members.params) else NULL
    if bytes(memoryview(params)[:1]) not in (b"{", b"[", b"n"):
        return _invalid(id_, "params: expected an object or an array")
    return Request(id_, key, method, params) if bytes(members.id) else Notification(method, params)


def _response(members: _Members, id_: Raw, key: Key) -> Message:
    has_error = bytes(members.error) not in (b"", b"null")
    if not bytes(members.id) or not (has_error or bytes(members.result)):
        return _invalid(id_, "message: expected a method, or a result or error with an id")
    return Response(key, members.result, members.error if has_error else None)


def _id(raw: Raw) -> tuple[Raw, Key]:
    """An id as it was written, and as a key.

    Raises:
        RpcError: It is no id.
    """
    text = bytes(raw)
    if not text:
        return NULL, None
    if text[:1] in b'"-0123456789n':
        try:
            return Raw(text), msgspec.json.decode(text, type=Key)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    raise RpcError(INVALID_REQUEST, "id: expected a string, a number or null")


def _text(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _invalid(id_: Raw, problem: str) -> Invalid:
    return Invalid(id_, RpcError(INVALID_REQUEST, problem))


def _whole(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape[1] else escape[0]


def _malformed() -> Invalid:
    # JSON-RPC 2.0, section 5: the id of what cannot be read is null.
    return Invalid(NULL, RpcError(PARSE_ERROR, "message: not valid JSON"))


# --- write ------------------------------------------------------------------------------------


def result(id_: Raw, value: object) -> bytes:
    """The good answer to a request; *value* may be `Raw`."""
    return _encode({"jsonrpc": "2.0", "id": id_, "result": value})


def error(id_: Raw, e: RpcError) -> bytes:
    """The bad answer to a request."""
    content: dict[str, object] = {"code": e.code, "message": e.message}
    if e.data is not None:
        content["data"] = e.data
    return _encode({"jsonrpc": "2.0", "id": id_, "error": content})


def request(key: str, method: str, params: object) -> bytes:
    """A request of ours."""
    return _encode({"jsonrpc": "2.0", "id": key, "method": method, "params": params})


def notification(method: str, params: object) -> bytes:
    """A message that is not answered."""
    return _encode({"jsonrpc": "2.0", "method": method, "params": params})
