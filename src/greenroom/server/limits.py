"""Who a connection belongs to, how many an address may have, and how often something may be done.

Time is an argument, in seconds of any clock that does not run backwards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_IPV6_PREFIX: Final = 64
_REMEMBERED: Final = 4_096
_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_MAX_BYTES: Final = 107


class TokenBucket:
    """`rate` a second in the long run, `burst` at once. Starts full."""

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """What could be taken at `now`."""
        return min(self.burst, self._level + max(0.0, now - self._at) * self.rate)

    def take(self, now: float, count: float = 1.0) -> bool:
        """Take `count` if they are there; else take nothing and return False."""
        level = self.level(now)
        # max: a clock that is given late never earns the same second twice.
        self._at = max(now, self._at)
        if level < count:
            self._level = level
            return False
        self._level = level - count
        return True

    def wait(self, now: float, count: float = 1.0) -> float:
        """Seconds until `count` can be taken; 0.0 if now, infinity if never."""
        missing = count - self.level(now)
        if missing <= 0:
            return 0.0
        return missing / self.rate if self.rate > 0 and count <= self.burst else float("inf")


class KeyedBuckets:
    """A bucket for each key, for at most `max_keys` keys: full buckets, then the longest unused, are forgotten."""

    def __init__(self, rate: float, burst: float, max_keys: int = 100_000) -> None:
        self._rate = rate
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float, count: float = 1.0) -> bool:
        """As `TokenBucket.take`, from the bucket of `key`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        self._buckets.move_to_end(key)
        taken = bucket.take(now, count)
        self._forget(now)
        return taken

    def wait(self, key: str, now: float, count: float = 1.0) -> float:
        """As `TokenBucket.wait`; looks without taking."""
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else bucket.wait(now, count)

    def _forget(self, now: float) -> None:
        # Two a call: what is forgotten keeps pace with what is added, and no call is long.
        for _ in range(2):
            oldest = next(iter(self._buckets))
            if len(self._buckets) <= self._max_keys and self._buckets[oldest].level(now) < self._burst:
                return
            if len(self._buckets) == 1:
                return
            del self._buckets[oldest]


class Limits:
    """Trusted proxies, and connections per address.

    `trusted_proxies` are addresses or networks ("10.0.0.0/8", "::1"), none by default. They may connect without limit;
    the address they forward counts instead. `connections_per_address` (1,000) holds for an IPv4 address or an IPv6 /64,
    which is what one customer gets. Raises ValueError for what is no address.
    """

    def __init__(self, *, trusted_proxies: Iterable[str] = (), connections_per_address: int = 1_000) -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(map(ip_network, trusted_proxies))
        self._max = connections_per_address
        self._open: dict[str, int] = {}
        self._trusted: dict[str, bool] = {}
        """Of the addresses last seen: behind a proxy a connection asks five times."""

    @property
    def connections_per_address(self) -> int:
        """The limit."""
        return self._max

    def is_trusted(self, address: str) -> bool:
        """Whether `address` is one of our proxies."""
        if not self._networks:
            return False
        known = self._trusted.get(address)
        if known is None:
            if len(self._trusted) >= _REMEMBERED:
                self._trusted.clear()
            parsed = _parse_address(address)
            known = parsed is not None and any(parsed in network for network in self._networks)
            self._trusted[address] = known
        return known

    def resolve(self, peer: str, forwarded_for: str) -> str:
        """The client's address: from the right of X-Forwarded-For, the first that is not a trusted proxy.

        Whatever stands left of it was written by somebody we do not trust. `forwarded_for` is the header's value,
        repeated ones joined with commas; empty if there is none. A malformed member ends the search at the proxy that
        sent it.
        """
        current = peer
        for member in reversed(forwarded_for.split(",")) if forwarded_for else ():
            if not self.is_trusted(current):
                break
            parsed = _parse_address(_without_port(member.strip()))
            if parsed is None:
                break
            current = str(parsed)
        return current

    def admit(self, address: str) -> bool:
        """Count one more connection of `address`, or return False if it has its share. Trusted ones are not counted."""
        if self.is_trusted(address):
            return True
        key = _share(address)
        count = self._open.get(key, 0)
        if count >= self._max:
            return False
        self._open[key] = count + 1
        return True

    def release(self, address: str) -> None:
        """A connection that was admitted is over."""
        if self.is_trusted(address):
            return
        key = _share(address)
        count = self._open.get(key, 0)
        if count > 1:
            self._open[key] = count - 1
        else:
            self._open.pop(key, None)

    def connections(self, address: str) -> int:
        """How many connections count for `address` now."""
        return self._open.get(_share(address), 0)


def normalise(address: str) -> str:
    """`address` as it is compared and logged: IPv4 mapped into IPv6 as IPv4, no zone; what is no address as it is."""
    if ":" not in address:
        return address
    parsed = _parse_address(address)
    return address if parsed is None else str(parsed)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _without_port(member: str) -> str:
    """`1.2.3.4:80`, `[::1]:80` and `[::1]` without what is not the address (RFC 7239, section 6)."""
    if member.startswith("["):
        return member[1:].partition("]")[0]
    return member.partition(":")[0] if member.count(":") == 1 else member


def _share(address: str) -> str:
    """What connections are counted under."""
    if ":" not in address:
        return address
    parsed = _parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, _IPV6_PREFIX), strict=False))
    return address if parsed is None else str(parsed)


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A PROXY protocol header: `address` of the client (None: the proxy speaks for itself), and its size in bytes."""

    address: str | None
    size: int


class MalformedProxyHeaderError(ValueError):
    """Begins as a PROXY protocol header and goes on otherwise."""


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read a PROXY protocol header (version 1 or 2) at the start of `data`.

    None: not whole yet. A size of 0: there is none. Raises MalformedProxyHeaderError.
    """
    if data.startswith(_V2_SIGNATURE):
        return _read_v2(data)
    if data.startswith(b"PROXY "):
        return _read_v1(data)
    if data and (_V2_SIGNATURE.startswith(data) or b"PROXY ".startswith(data)):
        return None
    return ProxyHeader(None, 0)


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _V1_MAX_BYTES)
    if end < 0:
        if len(data) >= _V1_MAX_BYTES:
            raise MalformedProxyHeaderError("a PROXY line has at most 107 bytes")
        return None
    fields = data[:end].decode("latin-1").split(" ")
    if fields[1] == "UNKNOWN":
        return ProxyHeader(None, end + 2)
    address = _parse_address(fields[2]) if len(fields) == 6 and fields[1] in ("TCP4", "TCP6") else None
    if address is None:
        raise MalformedProxyHeaderError("a PROXY line is: PROXY TCP4|TCP6 source destination port port")
    return ProxyHeader(str(address), end + 2)


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version, command = data[12] >> 4, data[12] & 15
    size = 16 + int.from_bytes(data[14:16])
    if version != 2 or command > 1:
        raise MalformedProxyHeaderError("a binary PROXY header is version 2, LOCAL or PROXY")
    if len(data) < size:
        return None
    # LOCAL, and families other than IP, speak of the proxy itself.
    width = {1: 4, 2: 16}.get(data[13] >> 4, 0) if command == 1 else 0
    if not width:
        return ProxyHeader(None, size)
    if size < 16 + 2 * width + 4:
        raise MalformedProxyHeaderError("a binary PROXY header is shorter than its addresses")
    return ProxyHeader(normalise(str(ip_address(data[16 : 16 + width]))), size)


__all__ = [
    "KeyedBuckets",
    "Limits",
    "MalformedProxyHeaderError",
    "ProxyHeader",
    "TokenBucket",
    "normalise",
    "read_proxy_header",
]
