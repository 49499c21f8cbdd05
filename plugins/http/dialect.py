"""How the routes of an API say that something went wrong. Knows no route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plugins.anthropic import errors as anthropic
from plugins.openai.errors import error_body
from transports.errors import MlxdError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Of one API, for all that its routes answer, whoever refuses the request."""

    status: Callable[[MlxdError], int]
    # The body; it may name the request ("": it has no name).
    body: Callable[[MlxdError, str], bytes]
    # What the ids of its requests begin with; "": only an answer has one, its own.
    request_prefix: str = ""


ANTHROPIC = Dialect(status=anthropic.error_status, body=anthropic.error_body, request_prefix="req_")
OPENAI = Dialect(status=lambda error: error.http_status, body=lambda error, _: error_body(error))
