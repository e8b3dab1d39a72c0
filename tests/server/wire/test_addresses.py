"""Addresses, shares and buckets: pure, so every case is a line."""

from __future__ import annotations

import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.server.wire.addresses import Limits, normalise

RESOLVED = [
    # peer, X-Forwarded-For, client; 10.0.0.0/8 and ::1 are trusted
    ("192.0.2.1", "", "192.0.2.1"),
    ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
    ("10.0.0.1", "", "10.0.0.1"),
    ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("::1", "198.51.100.1", "198.51.100.1"),
    ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
    ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
    ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
    ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
    ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
    ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
    ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
    ("10.0.0.1", "unknown", "10.0.0.1"),
    ("10.0.0.1", "198.51.100.1, garbage, 10.0.0.2", "10.0.0.2"),
    ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
    ("10.0.0.1", ",,,", "10.0.0.1"),
    ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("", "198.51.100.1", ""),
]


@pytest.mark.parametrize(("peer", "header", "client"), RESOLVED)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy_of_ours(peer: str, header: str, client: str) -> None:
    assert Limits(trusted_proxies=["10.0.0.0/8", "::1"]).resolve(peer, header) == client


def test_a_trusted_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(IllegalArgumentError, match="'proxy' is not a valid CIDR network"):
        Limits(trusted_proxies=["proxy"])


def test_an_address_has_its_share_of_connections() -> None:
    limits = Limits(connections_per_address=3)
    assert [limits.admit("192.0.2.1") for _ in range(5)] == [True, True, True, False, False]
    assert limits.admit("192.0.2.2")
    limits.release("192.0.2.1")
    assert limits.admit("192.0.2.1")
    for _ in range(3):
        limits.release("192.0.2.1")
    assert limits.connections("192.0.2.1") == 0


def test_an_ipv6_network_of_one_customer_is_one_address() -> None:
    limits = Limits(connections_per_address=2)
    assert limits.admit("2001:db8:0:1::1")
    assert limits.admit("2001:db8:0:1:ffff::2")
    assert not limits.admit("2001:db8:0:1::3")
    assert limits.admit("2001:db8:0:2::1")
    limits.release("2001:db8:0:1::9")
    assert limits.admit("2001:db8:0:1::3")


def test_trusted_proxies_are_not_counted() -> None:
    limits = Limits(trusted_proxies=["10.0.0.0/8"], connections_per_address=1)
    assert all(limits.admit("10.0.0.1") for _ in range(10))
    limits.release("10.0.0.1")
    assert limits.connections("10.0.0.1") == 0


@pytest.mark.parametrize(
    ("address", "normal"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("a:b", "a:b")],
)
def test_addresses_are_normalised(address: str, normal: str) -> None:
    assert normalise(address) == normal
