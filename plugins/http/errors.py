"""What the headers of an answer say of an error."""

from __future__ import annotations

import math

from transports.errors import CapacityError, MlxdError

# The OpenAI SDK sleeps as long as Retry-After says.
MAX_RETRY_AFTER_S = 30


def error_headers(error: MlxdError) -> dict[str, str]:
    """Retry-After where trying again may help."""
    if not isinstance(error, CapacityError) and error.retry_after_s is None:
        return {}
    seconds = math.ceil(error.retry_after_s or 1)
    return {"Retry-After": str(min(max(seconds, 1), MAX_RETRY_AFTER_S))}
