"""Connections are counted in all and from each address."""

from __future__ import annotations

import random

import pytest

from plugins.http.connection_limit import ConnectionLimit
from transports.errors import CapacityError


def fill(limit: ConnectionLimit, *addresses: str) -> None:
    for address in addresses:
        limit.acquire(address)


@pytest.mark.parametrize(
    ("held", "another"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_one_address_has_so_many(held: str, another: str) -> None:
    limit = ConnectionLimit(100, 2)
    fill(limit, held, another)

    with pytest.raises(CapacityError, match="from one address; see max_connections_per_address"):
        limit.acquire(another)
    limit.release(held)
    limit.acquire(another)


@pytest.mark.parametrize(
    "others",
    [
        ("192.0.2.2", "198.51.100.1"),
        ("2001:db8:0:1::1", "2001:db8:0:2::1"),
        ("fe80::2%eth0", "fe80::3%eth0"),
        # This machine, where a proxy may be; and who has left before it could be asked.
        ("127.0.0.1", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", ""),
    ],
)
def test_others_do_not_notice(others: tuple[str, ...]) -> None:
    limit = ConnectionLimit(100, 1)
    fill(limit, "192.0.2.1", "2001:db8::1", "fe80::1%eth0")

    fill(limit, *others)


def test_there_are_so_many_in_all_from_wherever() -> None:
    limit = ConnectionLimit(3, 2)
    fill(limit, "192.0.2.1", "127.0.0.1", "")

    with pytest.raises(CapacityError, match="see max_connections of"):
        limit.acquire("192.0.2.2")
    limit.release("")
    limit.acquire("192.0.2.2")


def test_with_0_an_address_may_have_them_all() -> None:
    limit = ConnectionLimit(100, 0)

    fill(limit, *["192.0.2.1"] * 100)


def test_what_has_ended_is_forgotten() -> None:
    """A stranger has addresses without end."""
    limit, rng, held = ConnectionLimit(50, 3), random.Random(1), list[str]()
    for _ in range(5000):
        address = f"192.0.2.{rng.randrange(40)}"
        try:
            limit.acquire(address)
            held.append(address)
        except CapacityError:
            assert len(held) == 50 or held.count(address) == 3
        if held and rng.random() < 0.5:
            limit.release(held.pop(rng.randrange(len(held))))
    for address in held:
        limit.release(address)

    assert not vars(limit)["_counts"]
