"""Allowed origins, as browsers write them in the Origin header (RFC 6454, section 6.2)."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NoReturn

from greenroom.errors import IllegalArgumentError

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def normalised_origin(text: str) -> str:
    """The origin as a page of it sends it: in lower case, without its scheme's default port. Raises
    IllegalArgumentError for what no page ever sends, with the reason."""
    origin = text.strip().lower()
    if origin == "*":
        _refuse(text, "there are no wildcards", "List the origins, or none to allow any")
    if origin == "null":
        _refuse(text, "any sandboxed or local page sends that", "Serve the page from its own origin")
    scheme, divider, rest = origin.partition("://")
    if not divider:
        _refuse(text, "it lacks its scheme", f"Write https://{rest or scheme}")
    if not _SCHEME.fullmatch(scheme):
        _refuse(text, "its scheme is not a letter followed by letters, digits, +, - and . (RFC 3986, section 3.1)")
    if scheme in ("ws", "wss"):
        _refuse(text, "an origin is where the page comes from", f"Write {scheme.replace('ws', 'http')}://{rest}")
    if set(rest) & set("/?#"):
        _refuse(text, "an origin ends after host and port", f"Write {scheme}://{re.split('[/?#]', rest)[0]}")
    if "@" in rest:
        _refuse(text, "an origin has no user name")
    return f"{scheme}://{_host_and_port(text, scheme, rest)}"


def _host_and_port(text: str, scheme: str, rest: str) -> str:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(.*))?", rest)
    host, port = found.groups() if found else (rest, None)
    if port is not None and not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        _refuse(text, "its port is not a number from 0 to 65535")
    if "*" in host:
        _refuse(text, "there are no wildcards", "List the origins, or none to allow any")
    if not host.isascii():
        _refuse(text, "browsers send such a host in its ASCII form", "Write it as it begins with xn--")
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except AddressValueError:
            _refuse(text, "its host is not an IPv6 address")
    elif not _HOST.fullmatch(host):
        _refuse(text, "its host is not a name or an address")
    return host if port is None or int(port) == _DEFAULT_PORTS.get(scheme) else f"{host}:{int(port)}"


def _refuse(text: str, reason: str, hint: str = "Write it as a browser does: https://app.example") -> NoReturn:
    raise IllegalArgumentError(f"The allowed origin {text[:80]!r} can never match: {reason}.", hint=f"{hint}.")
