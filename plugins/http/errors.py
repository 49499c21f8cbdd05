"""Our errors as OpenAI's: body, status and headers."""

from __future__ import annotations

import math

import msgspec

from transports.errors import CapacityError, MlxdError

# The OpenAI SDK sleeps as long as Retry-After says.
MAX_RETRY_AFTER_S = 30


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under "error"."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The whole body of an answer that failed."""

    error: ErrorObject


def error_body(error: MlxdError) -> bytes:
    """The JSON of an error, for a body or an event."""
    return msgspec.json.encode(
        ErrorBody(
            error=ErrorObject(
                message=error.message, type=_type(error), param=error.param or None, code=error.code
            )
        )
    )


def error_headers(error: MlxdError) -> dict[str, str]:
    """Retry-After where trying again may help."""
    if not isinstance(error, CapacityError) and error.retry_after_s is None:
        return {}
    seconds = math.ceil(error.retry_after_s or 1)
    return {"Retry-After": str(min(max(seconds, 1), MAX_RETRY_AFTER_S))}


def _type(error: MlxdError) -> str:
    if error.http_status == 429:
        return "rate_limit_error"
    if error.http_status == 403:
        return "permission_error"
    return "server_error" if error.http_status >= 500 else "invalid_request_error"
