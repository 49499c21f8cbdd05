"""Requests that end their worker: one strike makes a suspect, which runs alone; two, and it runs no more.

A request is known by its fingerprint; the same one from anybody else is the same request. Knows no workers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from transports.errors import PoisonRequest

# So many dead workers convict a request; as a suspect it was alone in the last of them.
MAX_STRIKES = 2
# Fingerprints that are remembered; the oldest strikes are forgotten first.
MAX_REMEMBERED = 4096


@dataclass(slots=True)
class _Record:
    num_strikes: int
    # When the last one was.
    struck_s: float


class Quarantine:
    """Strikes by fingerprint; a request without one ("") is never suspected."""

    def __init__(self, quarantine_s: float) -> None:
        """Nobody is suspected.

        Args:
            quarantine_s: How long a strike counts; 0 counts none.
        """
        self._quarantine_s = quarantine_s
        # The oldest strike first.
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def strike(self, fingerprints: Iterable[str], now: float) -> None:
        """A worker died with these requests in it."""
        # The same request twice in one worker is one strike.
        for fingerprint in dict.fromkeys(fingerprints):
            if not fingerprint or not self._quarantine_s:
                continue
            record = self._get(fingerprint, now) or _Record(0, now)
            record.num_strikes += 1
            record.struck_s = now
            self._records[fingerprint] = record
            self._records.move_to_end(fingerprint)
        self._forget(now)

    def clear(self, fingerprint: str) -> None:
        """The request ran to an end and its worker lives."""
        self._records.pop(fingerprint, None)

    def is_suspect(self, fingerprint: str, now: float) -> bool:
        """Whether it may run only alone."""
        return self._get(fingerprint, now) is not None

    def has_struck(self, fingerprint: str) -> bool:
        """Whether it has a strike, perhaps an old one."""
        return fingerprint in self._records

    def verdict(self, fingerprint: str, now: float) -> PoisonRequest | None:
        """Why a request must not reach a worker."""
        record = self._get(fingerprint, now)
        if record is None or record.num_strikes < MAX_STRIKES:
            return None
        left_s = math.ceil(record.struck_s + self._quarantine_s - now)
        return PoisonRequest(
            f"the worker of this model ended {record.num_strikes} times while it had this request; "
            f"the same request is refused for {left_s} s (kernel.quarantine_s)"
        )

    def _forget(self, now: float) -> None:
        """The strikes that count no more, and the oldest of too many."""
        while self._records:
            oldest = next(iter(self._records.values()))
            if len(self._records) <= MAX_REMEMBERED and now - oldest.struck_s < self._quarantine_s:
                return
            self._records.popitem(last=False)

    def _get(self, fingerprint: str, now: float) -> _Record | None:
        record = self._records.get(fingerprint)
        if record and now - record.struck_s >= self._quarantine_s:
            del self._records[fingerprint]
            return None
        return record
