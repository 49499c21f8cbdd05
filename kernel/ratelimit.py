"""How many requests a client may ask for in a minute. Knows no queue and no model."""

from __future__ import annotations

from collections import OrderedDict

from kernel.request import ClientId
from transports.errors import RateLimited

MINUTE_S = 60.0
# Clients that are remembered; those that asked longest ago are forgotten first.
MAX_REMEMBERED = 4096
# So that the last request of a full minute is not refused for a rounding error.
ROUNDING_S = 1e-6


class RateLimiter:
    """A leaky bucket for each client: it holds a minute's requests, and as many leak out in a minute."""

    def __init__(self, max_per_minute: int) -> None:
        """Nobody has asked for anything.

        Args:
            max_per_minute: Requests of one client; 0 is no limit.
        """
        self._max_per_minute = max_per_minute
        # When each client's bucket will be empty; the one that asked last is last.
        self._empty_s: OrderedDict[ClientId, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._empty_s)

    def check(self, client: ClientId, now: float) -> None:
        """Count a request.

        Raises:
            RateLimited: It is one too many; it does not count.
        """
        if not self._max_per_minute:
            return
        empty_s = max(now, self._empty_s.get(client, now)) + MINUTE_S / self._max_per_minute
        if empty_s - now > MINUTE_S + ROUNDING_S:
            raise RateLimited(
                f"this client has asked for {self._max_per_minute} requests within a minute, the most that "
                "kernel.max_requests_per_client_per_minute allows",
                retry_after_s=empty_s - now - MINUTE_S,
            )
        self._empty_s[client] = empty_s
        self._empty_s.move_to_end(client)
        while len(self._empty_s) > MAX_REMEMBERED or next(iter(self._empty_s.values())) <= now:
            self._empty_s.popitem(last=False)
