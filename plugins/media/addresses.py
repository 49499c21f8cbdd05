"""Which network addresses are public: those that a URL of a request may lead to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# RFC 6052: the last 32 bits are the IPv4 address. Where a network has only IPv6, every IPv4 host looks so.
_NAT64 = IPv6Network("64:ff9b::/96")
# RFC 4291, 2.4: what is routed today. Outside lie mapped and compatible IPv4 addresses, site-local ones...
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# RFC 3056: an IPv4 address in another dress; deprecated, and `is_global` until Python 3.11.10.
_6TO4 = IPv6Network("2002::/16")
# RFC 6890, "IETF protocol assignments"; `is_global` in part.
_ASSIGNMENTS = IPv4Network("192.0.0.0/24")


def is_public(text: str) -> bool:
    """Whether *text* is an address of the public internet.

    False for what is no address in its usual spelling, such as "127.1" or a name.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address not in _NAT64:
            return address in _GLOBAL_UNICAST and address not in _6TO4 and address.is_global
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    # `is_global` is true of multicast.
    is_special = address.is_multicast or address.is_reserved or address in _ASSIGNMENTS
    return address.is_global and not is_special
