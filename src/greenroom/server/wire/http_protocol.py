"""aiohttp's HTTP protocol as the front door uses it: it reads requests and writes answers, and gives its transport back
in the middle of a request, so that it can become a session's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

log = logging.getLogger("greenroom.server")

KEEPALIVE: Final = 75.0
"""Seconds an idle connection is kept; above the 60 s after which common proxies give one up."""


class HttpHandler(Protocol):
    """What answers plain HTTP."""

    async def handle(self, request: web.BaseRequest, address: str) -> web.StreamResponse:
        """The answer to one request. address: the client's, after trusted proxies."""

    def malformed(self, status: int) -> web.Response:
        """The answer to what is not HTTP/1.1 as RFC 9112 has it; the connection is closed after it."""

    def failed(self) -> web.Response:
        """The answer (500) where `handle` or aiohttp itself failed; the connection is closed after it."""


class HandedOver(web.StreamResponse):
    """aiohttp's response to a request whose transport is no longer its own: nothing is written."""

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


class HttpProtocol(RequestHandler):
    """One connection. visitor: the front door's protocol that feeds it."""

    __slots__ = ("_http", "visitor")

    def __init__(self, server: HttpServer, http: HttpHandler, visitor: object, max_head_bytes: int) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=KEEPALIVE,
            lingering_time=2.0,
            # A small body must not become a large one before it is bounded.
            auto_decompress=False,
            # The front door bounds the whole head. Less here would be a second refusal on top of its own.
            max_line_size=max_head_bytes,
            max_field_size=max_head_bytes,
        )
        self._http = http
        self.visitor = visitor

    def connection_lost(self, exc: BaseException | None) -> None:
        # A client that is gone sends no more of its body: aiohttp would wait for it until `lingering_time` is over.
        task = self._task_handler if self._current_request is None else None
        super().connection_lost(exc)
        if task is not None:
            task.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp refuses itself in the service's own words."""
        if status < 500:
            log.info("malformed request: status=%d", status)
            return self._http.malformed(status)
        log.error("unexpected error", exc_info=exc)
        return self._http.failed()

    def detach(self) -> bytes:
        """Give the transport back; what was read too far.

        By public methods: `set_parser` is where aiohttp's own WebSocket gets those bytes, and a protocol without a
        transport closes nothing when its `connection_lost` is called.
        """
        early = _Early()
        self.set_parser(cast(Any, early))
        self.transport = None
        self.connection_lost(None)
        return early.data


class HttpServer(web.Server):
    """aiohttp's list of its connections, and what is called for each request."""

    def __init__(
        self,
        serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        http: HttpHandler,
        max_head_bytes: int,
    ) -> None:
        super().__init__(serve)
        self._http = http
        self._max_head_bytes = max_head_bytes

    def protocol_for(self, visitor: object) -> HttpProtocol:
        """The protocol of one connection."""
        return HttpProtocol(self, self._http, visitor, self._max_head_bytes)
