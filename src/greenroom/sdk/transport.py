"""Connections over aiohttp, which is imported at the first open."""

from __future__ import annotations

import ssl

from greenroom.sdk.connections import ClientWebSocket


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
