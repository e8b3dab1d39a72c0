"""What the service may connect to on an app's behalf: the guard against server-side request forgery.

An app names any URL; the service must not become its tool against the operator's own network. So the address is checked
and not the name: after resolution, for every answer, with addresses inside addresses unpacked (IPv4-mapped,
IPv4-compatible, NAT64, 6to4, Teredo), and the address that was checked is the one connected to, so that a name that
resolves differently a moment later (DNS rebinding) gains nothing. Redirects are never followed.

Source: the security considerations of the Standard Webhooks specification; RFC 6890 (special-purpose addresses),
RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from greenroom.errors import IllegalArgumentError
from greenroom.server.outbound.lookups import ON_BEHALF_OF, NameLookups
from greenroom.server.wire.addresses import Address, Network

MAX_URL_CHARACTERS = 2048
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# is_global of Python 3.11 counts these as global, or did in one of its patch releases.
_NEVER: tuple[Network, ...] = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
    ipaddress.IPv6Network("100::/64"),
    ipaddress.IPv6Network("2001::/23"),
    ipaddress.IPv6Network("2002::/16"),
    ipaddress.IPv6Network("3fff::/20"),
    ipaddress.IPv6Network("5f00::/16"),
    ipaddress.IPv6Network("fec0::/10"),
)


class AddressRefusedError(OSError):
    """The name leads to an address that the service may not reach on an app's behalf. The text names neither."""


def _inner(address: ipaddress.IPv6Address) -> Iterable[ipaddress.IPv4Address]:
    """IPv4 addresses that the IPv6 one leads to or carries."""
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def is_public(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether the service may connect there on an app's behalf. allowed: networks of the operator's that are fine all
    the same."""
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = list(_inner(address))
        if inner and (address in _NAT64 or address.ipv4_mapped is not None):
            # What leads to IPv4 is as good as the IPv4 address it leads to.
            return all(is_public(item, allowed) for item in inner)
        if inner:
            return False
    if any(address.version == network.version and address in network for network in _NEVER):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


def check_url(
    url: str, *, allow_http: bool = False, allowed: Sequence[Network] = (), subject: str = "webhook's URL"
) -> str:
    """The URL, if it may be asked for as far as its text says. subject: what it is, for people. Raises
    IllegalArgumentError saying why not."""
    if (
        len(url) > MAX_URL_CHARACTERS
        or not url.isascii()
        or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url)
    ):
        raise IllegalArgumentError(
            f"The {subject} must have at most 2,048 ASCII characters without spaces.",
            hint="Percent-encode what is not ASCII.",
        )
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise IllegalArgumentError(f"The {subject} is malformed.", hint="Write https://host/path.") from None
    if parts.scheme not in ("https", "http"):
        raise IllegalArgumentError(f"The {subject} must begin with https://.", hint="Write https://host/path.")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc or "\\" in url:
        raise IllegalArgumentError(f"The {subject} must have no user name or password.", hint="Take them out.")
    if not host:
        raise IllegalArgumentError(f"The {subject} names no host.", hint="Write https://host/path.")
    literal = _literal(host)
    problems, settings = [], []
    if parts.scheme == "http" and not allow_http:
        problems.append("is without TLS")
        settings.append("GREENROOM_WEBHOOK_HTTP=allowed")
    if literal is not None and not is_public(literal, allowed):
        problems.append("resolves to a private address")
        settings.append(f"GREENROOM_WEBHOOK_ALLOWED_NETWORKS={_network_of(literal)}")
    if problems:
        # Everything at once: each setting costs the operator a restart.
        raise IllegalArgumentError(
            f"The {subject} {' and '.join(problems)}.",
            hint=f"Use https:// and a public address. To allow this one the operator sets {' and '.join(settings)}; "
            "greenroom serve --dev allows this machine.",
        )
    return url


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine, as far as its text says."""
    literal = _literal(urlsplit(url).hostname or "")
    return literal is not None and literal.is_loopback


def _network_of(address: Address) -> str:
    """What an operator would allow to let the address through."""
    if address.is_loopback:
        return "127.0.0.0/8" if address.version == 4 else "::1/128"
    return f"{address}/{32 if address.version == 4 else 128}"


def _literal(host: str) -> Address | None:
    """The address that a host is, in any of the numeric forms that resolvers take (0x7f.1, 2130706433, 0177.0.0.1)."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if all(part and (part.isdigit() or part[:2] in ("0x", "0X")) for part in host.rstrip(".").split(".")):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
        except OSError:
            return ipaddress.IPv4Address(0)
    return None


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp and refuses those with any answer that is not public.

    Addresses in place of names do not come through here (aiohttp does not resolve them): `check_url` refuses those.
    lookups: None is a set of its own.
    """

    def __init__(self, allowed: Sequence[Network] = (), lookups: NameLookups | None = None) -> None:
        self._allowed = tuple(allowed)
        self._lookups = lookups or NameLookups()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises AddressRefusedError, or OSError where there are none."""
        answers = await self._lookups.look_up(ON_BEHALF_OF.get(), host, port, family)
        found: list[ResolveResult] = []
        for answer_family, _kind, proto, _name, address in answers:
            text = str(address[0])
            if not is_public(ipaddress.ip_address(text.partition("%")[0]), self._allowed):
                raise AddressRefusedError("the name resolves to a private address")
            found.append(
                ResolveResult(
                    hostname=host, host=text, port=port, family=answer_family, proto=proto, flags=socket.AI_NUMERICHOST
                )
            )
        if not found:
            raise OSError("the name has no address")
        return found

    async def close(self) -> None:
        """Nothing to close."""
