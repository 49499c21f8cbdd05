"""What the headers of an answer say of an error."""

from __future__ import annotations

import math

from transports.errors import CapacityError, MlxdError, Unauthorized

# The OpenAI SDK sleeps as long as Retry-After says.
MAX_RETRY_AFTER_S = 30
# From here on OpenAI's and Anthropic's SDKs try again by themselves.
SERVER_ERROR = 500


def error_headers(error: MlxdError) -> dict[str, str]:
    """Whether trying again may help, and when; how to ask where a key is missing."""
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="mlxd"'}
    if isinstance(error, CapacityError) or error.retry_after_s is not None:
        seconds = math.ceil(error.retry_after_s or 1)
        return {"Retry-After": str(min(max(seconds, 1), MAX_RETRY_AFTER_S))}
    if not error.retryable and error.http_status >= SERVER_ERROR:
        return {"X-Should-Retry": "false"}
    return {}
