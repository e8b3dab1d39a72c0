"""Addresses, shares and buckets: pure, so every case is a line."""

from __future__ import annotations

import random

import pytest

from greenroom.core.rate_limit import KeyedBuckets, TokenBucket
from greenroom.errors import IllegalArgumentError
from greenroom.server.wire.addresses import Limits, normalise
from greenroom.server.wire.proxy_protocol import MalformedProxyHeaderError, ProxyHeader, read_proxy_header

V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=50.0, burst=100.0, now=10.0)
    assert sum(bucket.take(10.0) for _ in range(150)) == 100
    assert not bucket.take(10.019)
    assert bucket.take(10.021)
    assert not bucket.take(10.021)
    assert sum(bucket.take(1_000.0) for _ in range(150)) == 100


def test_a_refusal_takes_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=2.0, now=0.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.5, 2.0)
    assert bucket.take(0.5)


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate=0.5, burst=2.0, now=0.0)
    assert bucket.wait(0.0) == 0.0
    assert bucket.take(0.0, 2.0)
    assert bucket.wait(0.0) == pytest.approx(2.0)
    assert bucket.wait(1.0) == pytest.approx(1.0)
    assert bucket.wait(0.0, 3.0) == float("inf")
    assert TokenBucket(rate=0.0, burst=0.0, now=0.0).wait(0.0) == float("inf")


def test_time_that_goes_backwards_earns_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1.0, now=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


def test_no_order_of_takes_gives_more_than_rate_and_burst() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    bucket = TokenBucket(rate=10.0, burst=5.0, now=0.0)
    now, taken = 0.0, 0
    for _ in range(2_000):
        now += dice.choice([0.0, 0.001, 0.05, 0.3])
        taken += bucket.take(now)
        assert taken <= 5.0 + 10.0 * now + 1e-6


def test_keys_do_not_share_a_bucket() -> None:
    buckets = KeyedBuckets(rate=1 / 6, burst=10.0)
    assert sum(buckets.take("key 192.0.2.1", 0.0) for _ in range(20)) == 10
    assert buckets.take("key 192.0.2.2", 0.0)
    assert buckets.wait("key 192.0.2.1", 0.0) == pytest.approx(6.0)
    assert buckets.wait("nobody", 0.0) == 0.0


def test_keys_are_forgotten_when_there_are_too_many_or_they_are_full() -> None:
    buckets = KeyedBuckets(rate=0.0, burst=10.0, max_keys=100)
    for i in range(1_000):
        buckets.take(f"key {i}", 0.0)
        assert len(buckets) <= 100
    refilled = KeyedBuckets(rate=1.0, burst=10.0)
    for i in range(100):
        refilled.take(f"key {i}", 0.0)
    for _ in range(100):
        refilled.take("the only one", 1_000.0)
    assert len(refilled) == 1


def test_a_key_in_use_is_not_forgotten() -> None:
    buckets = KeyedBuckets(rate=0.0, burst=2.0, max_keys=10)
    assert buckets.take("mine", 0.0)
    assert buckets.take("mine", 0.0)
    for i in range(100):
        buckets.take(f"key {i}", 0.0)
        assert not buckets.take("mine", 0.0)


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


def v2(command: int, family: int, payload: bytes) -> bytes:
    return V2 + bytes([command, family]) + len(payload).to_bytes(2) + payload


IPV4 = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2])
IPV6 = bytes.fromhex("20010db8000000000000000000000001") * 2 + bytes(4)
TCP4 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
HEADERS: dict[str, tuple[bytes, ProxyHeader | None]] = {
    "none": (b"GET / HTTP/1.1", ProxyHeader(None, 0)),
    "nothing yet": (b"", ProxyHeader(None, 0)),
    "version 1": (TCP4 + b"GET", ProxyHeader("192.0.2.1", len(TCP4))),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", ProxyHeader("2001:db8::1", 32)),
    "version 1, unknown": (b"PROXY UNKNOWN\r\nGET", ProxyHeader(None, 15)),
    "version 1, unknown with rubbish": (b"PROXY UNKNOWN a b c\r\n", ProxyHeader(None, 21)),
    "version 1, half": (TCP4[:20], None),
    "version 1, a few letters": (b"PRO", None),
    "version 2": (v2(0x21, 0x11, IPV4) + b"GET", ProxyHeader("192.0.2.1", 28)),
    "version 2, IPv6": (v2(0x21, 0x21, IPV6), ProxyHeader("2001:db8::1", 52)),
    "version 2, with more": (v2(0x21, 0x11, IPV4 + b"\x04\x00\x01x"), ProxyHeader("192.0.2.1", 32)),
    "version 2, local": (v2(0x20, 0x00, b""), ProxyHeader(None, 16)),
    "version 2, local with an address": (v2(0x20, 0x11, IPV4), ProxyHeader(None, 28)),
    "version 2, Unix socket": (v2(0x21, 0x31, bytes(216)), ProxyHeader(None, 232)),
    "version 2, unspecified": (v2(0x21, 0x00, b""), ProxyHeader(None, 16)),
    "version 2, half": (v2(0x21, 0x11, IPV4)[:-1], None),
    "version 2, the signature's start": (V2[:5], None),
}


@pytest.mark.parametrize(("data", "header"), HEADERS.values(), ids=HEADERS.keys())
def test_proxy_headers(data: bytes, header: ProxyHeader | None) -> None:
    assert read_proxy_header(data) == header


MALFORMED = {
    "no address": b"PROXY TCP4 nobody 192.0.2.2 1 2\r\n",
    "too few words": b"PROXY TCP4 192.0.2.1\r\n",
    "an unknown family": b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "too long": b"PROXY TCP4 " + b"1" * 100,
    "version 3": V2 + b"\x31\x11\x00\x0c" + IPV4,
    "an unknown command": V2 + b"\x22\x11\x00\x0c" + IPV4,
    "shorter than its addresses": v2(0x21, 0x11, IPV4[:8]),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_proxy_headers(data: bytes) -> None:
    with pytest.raises(MalformedProxyHeaderError):
        read_proxy_header(data)


def test_every_cut_of_a_proxy_header_waits_for_the_rest() -> None:
    for data in (TCP4, v2(0x21, 0x11, IPV4), v2(0x21, 0x21, IPV6)):
        assert [read_proxy_header(data[:i]) for i in range(1, len(data))] == [None] * (len(data) - 1)
