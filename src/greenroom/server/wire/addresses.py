"""Which address a connection belongs to, and how many connections an address may have."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from greenroom.errors import IllegalArgumentError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV6_PREFIX: Final = 64
_REMEMBERED: Final = 4_096


class Limits:
    """Trusted proxies, and connections per address.

    `trusted_proxies` are addresses or networks ("10.0.0.0/8", "::1"), none by default. They may connect without limit;
    the address they forward counts instead. `connections_per_address` (1,000) holds for an IPv4 address or an IPv6 /64,
    which is what one customer gets. Raises IllegalArgumentError for what is not an address.
    """

    def __init__(self, *, trusted_proxies: Iterable[str] = (), connections_per_address: int = 1_000) -> None:
        self._networks = parse_networks(trusted_proxies)
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
            parsed = parse_address(address)
            known = parsed is not None and any(parsed in network for network in self._networks)
            self._trusted[address] = known
        return known

    def resolve(self, peer: str, forwarded_for: str) -> str:
        """The client's address: from the right of X-Forwarded-For, the first that is not a trusted proxy.

        Whatever stands left of it was written by a peer that is not trusted. `forwarded_for` is the header's value,
        repeated ones joined with commas; empty if there is none. A malformed member ends the search at the proxy that
        sent it.
        """
        current = peer
        for member in reversed(forwarded_for.split(",")) if forwarded_for else ():
            if not self.is_trusted(current):
                break
            parsed = parse_address(_without_port(member.strip()))
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


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation, or single addresses. Raises IllegalArgumentError that names the first bad one."""
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip()))
        except ValueError:
            raise IllegalArgumentError(
                f"{text!r} is not a valid CIDR network.", hint="Write it like 10.1.0.0/16."
            ) from None
    return tuple(networks)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, which nobody reaches from elsewhere."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def normalise(address: str) -> str:
    """`address` as it is compared and logged: IPv4 mapped into IPv6 as IPv4, no zone; what is not an address as it
    is."""
    if ":" not in address:
        return address
    parsed = parse_address(address)
    return address if parsed is None else str(parsed)


def parse_address(text: str) -> Address | None:
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
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, _IPV6_PREFIX), strict=False))
    return address if parsed is None else str(parsed)
