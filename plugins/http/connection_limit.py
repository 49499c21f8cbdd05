"""How many connections there are, in all and from each address. Knows no sockets."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address

from transports.errors import CapacityError

# Of an IPv6 address, the bits that its holder did not choose.
NETWORK_BITS = 64


class ConnectionLimit:
    """Counts connections within limits.

    Args:
        max_connections: In all.
        max_per_address: From one address, this machine's own aside: a proxy there comes from it with
            everybody's requests. 0 is no limit.
    """

    def __init__(self, max_connections: int, max_per_address: int) -> None:
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        # Who -> its connections; those that are not told apart are under "".
        self._counts: Counter[str] = Counter()

    def acquire(self, address: str) -> None:
        """Count a new connection; `release` must follow when it has ended.

        Args:
            address: Of the other side; "" if it has gone already.

        Raises:
            CapacityError: There are too many; it is not counted.
        """
        who = _who(address)
        if self._counts.total() >= self._max_connections:
            raise CapacityError("too many connections; see max_connections of the section [http]")
        if who and 0 < self._max_per_address <= self._counts[who]:
            raise CapacityError(
                "too many connections from one address; see max_connections_per_address of the section [http]"
            )
        self._counts[who] += 1

    def release(self, address: str) -> None:
        """A counted connection from *address* has ended."""
        who = _who(address)
        self._counts[who] -= 1
        if not self._counts[who]:
            del self._counts[who]


def _who(address: str) -> str:
    """Whose it is; "" for what is not told apart."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return ""
    # Whoever has an IPv6 address has a network of them, but for those of a cable that all share.
    if isinstance(found, IPv6Address) and not found.is_link_local:
        return str(int(found) >> (128 - NETWORK_BITS))
    return str(found)
