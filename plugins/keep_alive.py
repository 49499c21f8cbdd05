"""How long a model stays in memory, as people and Ollama's clients write it: 300, "5m", "-1"."""

from __future__ import annotations

import math
import re

from transports.envelope import MAX_KEEP_ALIVE_S
from transports.errors import RequestError

EXPECTED = 'seconds, or a duration like "5m" or "1h30m"; below 0 is for ever'
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+")
# Longer ones are mistakes.
_MAX_CHARACTERS = 40


def read_keep_alive(given: float | str) -> float:
    """`Envelope.keep_alive_s` of what somebody wrote.

    Raises:
        ValueError: It is neither a number nor a duration.
    """
    seconds = _seconds(given.strip()) if isinstance(given, str) else float(given)
    if math.isnan(seconds):
        raise ValueError(EXPECTED)
    return -1.0 if seconds < 0 else min(seconds, MAX_KEEP_ALIVE_S)


def keep_alive_of(given: float | str | None) -> float | None:
    """`Envelope.keep_alive_s` of the field `keep_alive` of a request.

    Raises:
        RequestError: It is no duration.
    """
    if given is None:
        return None
    try:
        return read_keep_alive(given)
    except ValueError as e:
        raise RequestError(f"keep_alive: expected {e}", param="keep_alive") from None


def _seconds(text: str) -> float:
    if len(text) > _MAX_CHARACTERS or not text.isascii():
        raise ValueError(EXPECTED)
    if _DURATION.fullmatch(text):
        total = sum(float(amount) * _UNITS_S[unit] for amount, unit in _PART.findall(text))
        return -total if text.startswith("-") else total
    try:
        return float(text)
    except ValueError:
        raise ValueError(EXPECTED) from None
