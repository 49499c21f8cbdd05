"""Our errors as Anthropic's: type, status, body, event."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from transports.errors import CapacityError, ContextLengthExceeded, MlxdError

ErrorType: TypeAlias = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
]

TOO_LONG = "prompt is too long"
_TYPES: dict[int, ErrorType] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    # Anthropic's own status for too much load.
    529: "overloaded_error",
}


class MessageErrorDetails(Struct, frozen=True, kw_only=True):
    """What programs may go by."""

    error_code: str


class MessageError(Struct, frozen=True, kw_only=True):
    """What stands under "error"."""

    type: ErrorType
    message: str
    details: MessageErrorDetails


class MessageErrorBody(Struct, frozen=True, kw_only=True):
    """The whole body of an answer that failed, and of the event that ends a stream."""

    type: Literal["error"] = "error"
    error: MessageError
    request_id: str | None


def error_status(error: MlxdError) -> int:
    """The HTTP status."""
    if isinstance(error, CapacityError) and error.http_status == 503:
        return 529
    return error.http_status


def error_body(error: MlxdError, request_id: str) -> bytes:
    """The JSON of an error of that request; "" where it has no name."""
    message = error.message
    # Coding agents look for these words, and shorten their conversation.
    if isinstance(error, ContextLengthExceeded) and TOO_LONG not in message:
        message = f"{TOO_LONG}: {message}"
    status = error_status(error)
    kind: ErrorType = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = MessageErrorBody(
        error=MessageError(type=kind, message=message, details=MessageErrorDetails(error_code=error.code)),
        request_id=request_id or None,
    )
    return msgspec.json.encode(body)


def error_event(error: MlxdError, request_id: str) -> bytes:
    """How a stream says that it failed."""
    return b"event: error\ndata: %b\n\n" % error_body(error, request_id)
