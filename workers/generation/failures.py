"""What a model library raised, as an error of ours. Knows no mlx."""

from __future__ import annotations

import re

from transports.errors import MlxdError, OutOfMemory, WorkerError
from transports.redaction import redacted

# Seen in mlx 0.32.4: "[metal::malloc] Attempting to allocate ... bytes which is greater than the maximum",
# "[malloc_or_wait] Unable to allocate ... bytes", "cudaMallocAsync(...) failed: out of memory",
# "Command buffer execution failed: Insufficient Memory". On a CPU it is a MemoryError.
_NO_MEMORY = re.compile(r"out of memory|insufficient memory|unable to allocate|attempting to allocate", re.I)
_MAX_REASON = 200


def is_out_of_memory(error: Exception) -> bool:
    """Whether another try with less in memory may succeed."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def as_error(error: Exception) -> MlxdError:
    """For the request that *error* ends."""
    if isinstance(error, MlxdError):
        return error
    said = redacted(str(error)[: 10 * _MAX_REASON])
    reason = f"{type(error).__name__}: {said}"[:_MAX_REASON]
    if is_out_of_memory(error):
        return OutOfMemory(f"there is not enough memory for this request, even alone: {reason}")
    return WorkerError(f"the model failed on this request: {reason}")
