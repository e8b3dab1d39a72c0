"""What went wrong with a request made on an app's behalf, in words for people."""

from __future__ import annotations

import ssl

import aiohttp

from greenroom.server.outbound.ssrf import AddressRefusedError


def words_of(error: Exception, peer: str) -> str:
    """What went wrong, in words that name no address and repeat nothing that was sent. peer: whose it is."""
    cause = getattr(error, "os_error", None) or error.__cause__
    if isinstance(error, AddressRefusedError) or isinstance(cause, AddressRefusedError):
        return f"the {peer}'s name resolves to a private address"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return f"the {peer}'s TLS certificate or handshake failed"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the {peer}'s name has no address"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the {peer} refuses connections or cannot be reached"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return f"the {peer} closed the connection without an answer"
    return f"the {peer}'s answer is not HTTP"
