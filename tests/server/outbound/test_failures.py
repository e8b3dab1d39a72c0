"""What went wrong with a request on an app's behalf, in words that name no address."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp
import pytest

from greenroom.server.outbound.failures import words_of
from greenroom.server.outbound.ssrf import AddressRefusedError

KEY: Any = None
"""To whom: no text may name it."""


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AddressRefusedError("10.0.0.1"), "the peer's name resolves to a private address"),
        (_caused(OSError("no"), AddressRefusedError("10.0.0.1")), "the peer's name resolves to a private address"),
        (aiohttp.ClientConnectorError(KEY, AddressRefusedError()), "the peer's name resolves to a private address"),
        (ssl.SSLError("wrong version"), "the peer's TLS certificate or handshake failed"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError("bad")), "the peer's TLS certificate or handshake failed"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror("none")), "the peer's name has no address"),
        (aiohttp.ClientConnectorError(KEY, OSError("refused")), "the peer refuses connections or cannot be reached"),
        (aiohttp.ServerDisconnectedError(), "the peer closed the connection without an answer"),
        (ConnectionResetError("reset"), "the peer closed the connection without an answer"),
        (ValueError("HTTP/9"), "the peer's answer is not HTTP"),
    ],
)  # fmt: skip
def test_words(error: Exception, words: str) -> None:
    assert words_of(error, "peer") == words
