"""The address of the service, and connections to it. What needs aiohttp is imported at the first open."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit, urlunsplit

from greenroom.errors import IllegalArgumentError
from greenroom.sdk.connections import ClientWebSocket

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_EXAMPLE = "Pass e.g. https://sessions.example.com."


def service_base(url: object) -> str:
    """The service's address as http(s), without a slash at the end. Takes http, https, ws and wss, also a URL object.

    Raises IllegalArgumentError.
    """
    if url is None or isinstance(url, bytes):
        kind = "None" if url is None else "bytes"
        raise IllegalArgumentError(f"The service's URL is {kind}, not a string.", hint=_EXAMPLE)
    text = str(url).strip()
    if "://" not in text:
        raise IllegalArgumentError(f"{text!r} lacks http:// or https://.", hint=_EXAMPLE)
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0 and not any(char.isspace() for char in text)
    except ValueError:
        raise IllegalArgumentError(f"{text!r} is not a valid URL.", hint=_EXAMPLE) from None
    if parts.scheme not in _SCHEMES:
        raise IllegalArgumentError(f"The service's URL begins with {parts.scheme}://.", hint=_EXAMPLE)
    if not has_host:
        raise IllegalArgumentError(f"{text!r} has no valid host and port.", hint=_EXAMPLE)
    if parts.query or parts.fragment or parts.username is not None:
        raise IllegalArgumentError(
            "The service's URL has a query, a fragment or a user in it.",
            hint="Pass scheme, host, port and path alone.",
        )
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/"), "", ""))


class AiohttpTransport:
    """Connects over aiohttp. Implements `greenroom.sdk.connections.Transport`.

    Each connection has a client of its own, so that nothing outlives it, and nothing belongs to an event loop that may
    have ended. ssl_context: None verifies against the system's authorities. Proxies: from the environment; a netrc file
    is never read.
    """

    def __init__(self, base: str, ssl_context: ssl.SSLContext | None = None) -> None:
        self.base = base
        self._ssl = ssl_context

    async def connect(self) -> ClientWebSocket:
        """Raises a GreenroomError: ServiceUnavailableError where trying again may help, others where not."""
        from greenroom.sdk.aiohttp_client import connect

        return await connect(self.base, self._ssl)

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        """A v1 client access token (`POST /v1/oauth2/token`, HTTP Basic). Raises a GreenroomError."""
        from greenroom.sdk.aiohttp_client import fetch_token

        return await fetch_token(self.base, self._ssl, app_key, app_secret)
