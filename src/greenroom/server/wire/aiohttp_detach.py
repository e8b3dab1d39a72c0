"""Takes a transport away from aiohttp's HTTP protocol in the middle of a request, so that it can become a session's."""

from __future__ import annotations

from typing import Any, cast

from aiohttp import web


class HandedOver(web.StreamResponse):
    """aiohttp's response to a request whose transport is not its own any more: nothing is written."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Early:
    """Takes from aiohttp what came after the head of an upgrade; passes for one of its payload parsers."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None: ...


def detach(request: web.BaseRequest) -> bytes:
    """Take the transport from aiohttp's protocol, which then believes that it was lost; return what it read too far.

    By its public methods: `set_parser` is where its own WebSocket gets those bytes, and a protocol without a transport
    closes nothing when it is told that its connection is lost.
    """
    protocol = request.protocol
    early = _Early()
    protocol.set_parser(cast(Any, early))
    protocol.transport = None
    protocol.connection_lost(None)
    return early.data


__all__ = ["HandedOver", "detach"]
