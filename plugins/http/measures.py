"""What the HTTP frontend counts of its requests: how many, how long, how many tokens. Knows no format.

A name that a client made up must not become a label: only models that have answered are told apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from transports.messages import Done

# Models that are told apart, and what the others are called together.
MAX_MODELS = 256
OTHER = "other"
# Upper bounds, seconds: from an answer of the cache to one that waited for minutes.
DURATION_BOUNDS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
# From 1000 tokens a second to one in a second.
TOKEN_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)


class RequestKey(NamedTuple):
    """What requests are counted by."""

    route: str
    status: int
    # Of an answer that failed, before its first byte or after; else "".
    code: str
    model: str


class TokenKey(NamedTuple):
    """What tokens are counted by."""

    model: str
    # "prompt", "cached" (of the prompt's), "completion".
    kind: str


@dataclass(slots=True)
class Histogram:
    """How often values were how large."""

    bounds: Sequence[float]
    # One more than bounds: the last is of those above all of them.
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Histogram:
        """One that stays as this one is now."""
        made = Histogram(self.bounds)
        made.counts, made.total = self.counts.copy(), self.total
        return made


class Measures:
    """All counts since the process began."""

    def __init__(self) -> None:
        self.requests: dict[RequestKey, int] = defaultdict(int)
        self.tokens: dict[TokenKey, int] = defaultdict(int)
        # By (route, model): from the head of a request to the end of its answer.
        self.duration_s: dict[tuple[str, str], Histogram] = defaultdict(lambda: Histogram(DURATION_BOUNDS_S))
        # By model, on the worker's clock: without the wait for a slot.
        self.first_token_s: dict[str, Histogram] = defaultdict(lambda: Histogram(DURATION_BOUNDS_S))
        self.output_token_s: dict[str, Histogram] = defaultdict(lambda: Histogram(TOKEN_BOUNDS_S))
        self._models: set[str] = set()

    def ended(
        self, route: str, status: int, code: str, model: str, duration_s: float, ends: Sequence[Done]
    ) -> None:
        """A request was answered.

        Args:
            route: Its pattern.
            status: Of the answer.
            code: Of the error; "" for none.
            model: As the client named it; "" where there is none.
            duration_s: From its head to the end of its answer.
            ends: The good ends of the choices.
        """
        if ends and len(self._models) < MAX_MODELS:
            self._models.add(model)
        name = model if model in self._models else OTHER if model else ""
        self.requests[RequestKey(route, status, code, name)] += 1
        self.duration_s[route, name].observe(duration_s)
        for end in ends:
            self._count_tokens(name, end)

    def copy(self) -> Measures:
        """Those that there are now, for a thread to read."""
        made = Measures()
        made.requests |= self.requests
        made.tokens |= self.tokens
        made.duration_s |= {key: one.copy() for key, one in self.duration_s.items()}
        made.first_token_s |= {model: one.copy() for model, one in self.first_token_s.items()}
        made.output_token_s |= {model: one.copy() for model, one in self.output_token_s.items()}
        return made

    def _count_tokens(self, model: str, end: Done) -> None:
        usage, timings = end.usage, end.timings
        self.tokens[TokenKey(model, "prompt")] += usage.prompt_tokens
        self.tokens[TokenKey(model, "cached")] += usage.cached_tokens
        self.tokens[TokenKey(model, "completion")] += usage.completion_tokens
        if timings is None or not usage.completion_tokens:
            return
        self.first_token_s[model].observe(timings.ttft_s)
        if usage.completion_tokens > 1:
            writing_s = timings.total_s - timings.ttft_s
            self.output_token_s[model].observe(writing_s / (usage.completion_tokens - 1))
