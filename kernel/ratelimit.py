"""How many requests a client may ask for in a minute. Knows no queue and no model."""

from __future__ import annotations

from kernel.request import ClientId
from transports.buckets import Buckets
from transports.errors import RateLimited


class RateLimiter:
    """Counts requests, client by client."""

    def __init__(self, max_per_minute: int) -> None:
        """Nobody has asked for anything.

        Args:
            max_per_minute: Requests of one client; 0 is no limit.
        """
        self._max_per_minute = max_per_minute
        self._buckets: Buckets[ClientId] = Buckets()

    def __len__(self) -> int:
        return len(self._buckets)

    def check(self, client: ClientId, now: float) -> None:
        """Count a request.

        Raises:
            RateLimited: It is one too many; it does not count.
        """
        if not self._max_per_minute:
            return
        if wait_s := self._buckets.put(client, self._max_per_minute, now):
            raise RateLimited(
                f"this client has asked for {self._max_per_minute} requests within a minute, the most that "
                "kernel.max_requests_per_client_per_minute allows",
                retry_after_s=wait_s,
            )
