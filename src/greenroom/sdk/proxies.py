"""The proxy in front of a service, from the environment: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

from __future__ import annotations

import base64
import os
import urllib.request
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from greenroom.errors import IllegalArgumentError


@dataclass(frozen=True, slots=True)
class Proxy:
    """url: without user and password. variable: where it was found. authorization: the header, None for none."""

    url: str
    variable: str
    authorization: str | None

    def __str__(self) -> str:
        return f"the proxy {self.url} (from {self.variable})"


def proxy_of(base: str) -> Proxy | None:
    """The proxy for this http(s) address; None for none. Raises IllegalArgumentError, which names the variable."""
    target = urlsplit(base)
    address = target.netloc.rpartition("@")[2]
    if urllib.request.proxy_bypass(address):
        return None
    value = urllib.request.getproxies().get(target.scheme)
    if not value:
        return None
    names = (f"{target.scheme}_proxy", f"{target.scheme}_proxy".upper())
    variable = next((name for name in names if os.environ.get(name)), "the system's settings")
    value = value.strip()
    if "://" not in value:
        shown = value.rpartition("@")[2]
        raise IllegalArgumentError(
            f"{variable} is {shown!r}, which lacks http://.", hint=f"Set {variable} to http://{shown}."
        )
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise IllegalArgumentError(
            f"{variable} names a {parts.scheme} proxy; http and https proxies are supported.",
            hint=f"Set {variable} to an address with http://, or NO_PROXY to {target.hostname}.",
        )
    authorization = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(user.encode()).decode()
    return Proxy(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", variable, authorization)
