"""Our errors as OpenAI's error objects."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from transports.errors import BY_CODE, MlxdError

# One of ours; docs/api.md says what each means.
Code: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted(BY_CODE)})]


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under "error"."""

    message: str
    type: str
    param: str | None
    code: Code


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The whole body of an answer that failed."""

    error: ErrorObject


def error_body(error: MlxdError) -> bytes:
    """The JSON of an error, for a body or an event."""
    return msgspec.json.encode(ErrorBody(error=error_object(error)))


def error_object(error: MlxdError) -> ErrorObject:
    """What clients see of an error."""
    return ErrorObject(message=error.message, type=_type(error), param=error.param or None, code=error.code)


def _type(error: MlxdError) -> str:
    if error.http_status == 429:
        return "rate_limit_error"
    if error.http_status == 403:
        return "permission_error"
    return "server_error" if error.http_status >= 500 else "invalid_request_error"
