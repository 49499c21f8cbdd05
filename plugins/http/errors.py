"""What the headers of an answer say of an error."""

from __future__ import annotations

import math

from transports.errors import CapacityError, MlxdError, Unauthorized

# The OpenAI SDK sleeps as long as Retry-After says.
MAX_RETRY_AFTER_S = 30


def error_headers(error: MlxdError) -> dict[str, str]:
    """Retry-After where trying again may help; how to ask where a key is missing."""
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="mlxd"'}
    if not isinstance(error, CapacityError) and error.retry_after_s is None:
        return {}
    seconds = math.ceil(error.retry_after_s or 1)
    return {"Retry-After": str(min(max(seconds, 1), MAX_RETRY_AFTER_S))}
