"""The terms of a submit: the words of people for what its envelope says in numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

from transports.envelope import MAX_TIMEOUT_S

# The word -> `Envelope.priority`.
PRIORITIES = {"high": 1, "normal": 0, "low": -1}


class SubmitTerms(NamedTuple):
    """What `KernelClient.submit` is told beside the request itself; the defaults leave all to the kernel."""

    # Whose turn it is; one of `PRIORITIES`.
    priority: int = 0
    # The longest wait, seconds.
    timeout_s: float = 0.0
    # As `Envelope.keep_alive_s`.
    keep_alive_s: float | None = None


def parse_priority(text: str) -> int:
    """What a priority is called.

    Raises:
        ValueError: What is allowed.
    """
    if text not in PRIORITIES:
        raise ValueError(f"expected {', '.join(PRIORITIES)}")
    return PRIORITIES[text]


def parse_timeout_s(text: str) -> float:
    """The longest wait in a queue, in seconds.

    Raises:
        ValueError: What is allowed.
    """
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = math.nan
    # Not true of NaN either.
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise ValueError(f"expected seconds, above 0 and up to {MAX_TIMEOUT_S}")
    return timeout_s
