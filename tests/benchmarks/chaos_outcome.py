"""How a request ended, and what of that must never be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# done: whole. failed: an error after the answer began, or instead of it. broken: the connection ended.
# left: the client went away itself.
End = Literal["done", "failed", "broken", "left"]

# What may become of a request while workers, frontends and the kernel are killed. Not among them:
# internal_error, local_protocol_error, remote_protocol_error, and anything that is the client's fault.
ALLOWED_CODES = frozenset(
    {
        "kernel_unavailable",
        "model_unavailable",
        "out_of_memory",
        "overloaded",
        "poison_request",
        "queue_full",
        "queue_timeout",
        "rate_limited",
        "shutting_down",
        "slow_reader",
        "worker_crashed",
        "worker_error",
        "worker_hung",
    }
)
MARKER = re.compile(r"<\d+\.\d+>")


@dataclass(frozen=True)
class Outcome:
    """One request from its begin to its end, as its client saw it."""

    # What kind of client asked, and which model.
    client: str
    model: str
    began_s: float
    ended_s: float
    end: End
    # Of an error: its code, or what broke.
    detail: str = ""


class Violation(Exception):
    """Something that must never be."""


def marker(client: int, turn: int) -> str:
    """A word that no other request has."""
    return f"<{client}.{turn}>"


def check_text(text: str, expected: str, *, is_whole: bool) -> None:
    """An answer is what its request said, or the beginning of it.

    Raises:
        Violation: It is not; the worst case is another request's text.
    """
    check_markers(text, expected)
    if not expected.startswith(text):
        raise Violation(f"wrong text: {text[-80:]!r} in the answer to {expected[:80]!r}")
    if is_whole and text != expected:
        raise Violation(f"silent truncation: {len(text)} of {len(expected)} characters, and a good end")


def check_markers(text: str, expected: str) -> None:
    """No other request's marker is in an answer.

    Raises:
        Violation: One is.
    """
    own = set(MARKER.findall(expected))
    if foreign := set(MARKER.findall(text)) - own:
        raise Violation(f"foreign text: {sorted(foreign)} in the answer to {sorted(own)}")


def check_code(code: str) -> None:
    """An error is one that a fault explains.

    Raises:
        Violation: It is not.
    """
    if code not in ALLOWED_CODES:
        raise Violation(f"unexpected error: {code}")
