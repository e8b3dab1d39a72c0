"""WebSocket and token endpoint over aiohttp."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from greenroom.codes import CloseCode, ErrorCode
from greenroom.errors import GreenroomError, ProtocolError, RateLimitedError, ServiceUnavailableError, TokenInvalidError
from greenroom.messages import PATH, SUBPROTOCOL
from greenroom.sdk.addresses import retry_after_of
from greenroom.sdk.proxies import Proxy, proxy_of
from greenroom.sdk.tasks import start_task

CLOSE_LIMIT = 2.0
"""Seconds that a closing handshake may take before the connection is aborted."""
TOKEN_LIMIT = 10.0
"""Seconds for a request to the token endpoint."""
_UNAVAILABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class _WebSocketResponse(aiohttp.ClientWebSocketResponse):
    """aiohttp's, with a way to abort it."""

    def __init__(
        self, reader: Any, writer: Any, protocol: Any, response: aiohttp.ClientResponse, *more: Any, **kw: Any
    ):
        super().__init__(reader, writer, protocol, response, *more, **kw)
        self._network = None if response.connection is None else response.connection.transport

    def abort(self) -> None:
        """Drop the connection at once, whatever the peer does."""
        if self._network is not None:
            self._network.abort()


class AiohttpWebSocket:
    """One WebSocket. Implements `greenroom.sdk.connections.ClientWebSocket`."""

    def __init__(self, web_socket: _WebSocketResponse, client: aiohttp.ClientSession) -> None:
        self._socket = web_socket
        self._client = client
        self._outbox: asyncio.Queue[bytes | int] = asyncio.Queue()
        self._closing = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._reason = ""

    def send(self, data: bytes) -> None:
        if not self._closing:
            self._outbox.put_nowait(data)

    def disconnect(self, code: int) -> None:
        """Close with this code after everything that was queued before."""
        if not self._closing:
            self._closing = True
            self._outbox.put_nowait(code)
            # Where the peer does not even read, the writer never gets to it.
            self._abort_timer = asyncio.get_running_loop().call_later(CLOSE_LIMIT * 1.5, self.abort)

    async def messages(self) -> AsyncIterator[str]:
        """Received messages, until the connection is over."""
        writer = start_task(self._write(), "greenroom writer")
        try:
            while True:
                message = await self._socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    if not self._closing:
                        yield message.data
                elif message.type is aiohttp.WSMsgType.CLOSE:
                    self._reason = message.extra or ""
                    return
                elif message.type is not aiohttp.WSMsgType.BINARY:
                    return
        finally:
            if self._abort_timer is not None:
                await asyncio.wait({writer}, timeout=CLOSE_LIMIT)
                self._abort_timer.cancel()
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _write(self) -> None:
        while True:
            item = await self._outbox.get()
            try:
                if isinstance(item, int):
                    await asyncio.wait_for(self._socket.close(code=item), CLOSE_LIMIT)
                    return None
                await self._socket.send_str(item.decode())
            except (OSError, RuntimeError, TimeoutError):
                return self.abort()  # ends the reader too

    def abort(self) -> None:
        """Drop the connection at once, whatever the peer does."""
        self._socket.abort()

    def close_code(self) -> int:
        """1006 where no Close frame came."""
        return self._socket.close_code or CloseCode.ABNORMAL

    def close_reason(self) -> str:
        """The reason in the Close frame; "" where it has none, or none came."""
        return self._reason

    async def aclose(self) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                await asyncio.wait_for(self._socket.close(code=CloseCode.COME_BACK), CLOSE_LIMIT)
        finally:
            await self._client.close()


async def connect(base: str, ssl_context: ssl.SSLContext | None) -> AiohttpWebSocket:
    """Raises a GreenroomError: ServiceUnavailableError where trying again may help, others where not."""
    proxy = proxy_of(base)
    client = aiohttp.ClientSession(ws_response_class=_WebSocketResponse, trust_env=False)
    try:
        try:
            web_socket = await client.ws_connect(
                base + PATH,
                protocols=(SUBPROTOCOL,),
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_LIMIT),
                compress=0,
                autoclose=False,  # it would answer any Close with 1000, which is `close`'s alone (S6)
                **_options(base, ssl_context, proxy, {}),
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _explain(error, base, proxy) from error
        if web_socket.protocol != SUBPROTOCOL:
            await web_socket.close()
            raise ProtocolError(f"{_host(base)} answered, but not in {SUBPROTOCOL}: is it a Greenroom service?")
        return AiohttpWebSocket(web_socket, client)
    except BaseException:
        await client.close()
        raise


def _options(
    base: str, ssl_context: ssl.SSLContext | None, proxy: Proxy | None, headers: dict[str, str]
) -> dict[str, Any]:
    options: dict[str, Any] = {} if ssl_context is None else {"ssl": ssl_context}
    if proxy is not None:
        options["proxy"] = proxy.url
        if proxy.authorization is not None:
            authorization = {"Proxy-Authorization": proxy.authorization}
            if base.startswith("https"):
                options["proxy_headers"] = authorization  # of the CONNECT
            else:
                headers = headers | authorization
    return options | {"headers": headers}


def _host(base: str) -> str:
    return urlsplit(base).netloc


def _explain(error: Exception, base: str, proxy: Proxy | None) -> GreenroomError:
    host = _host(base)
    if isinstance(error, aiohttp.WSServerHandshakeError):
        after = None if error.headers is None else error.headers.get("Retry-After")
        return _refused(error.status, retry_after_of(after, time.time()), base, proxy)
    if proxy is not None and isinstance(error, aiohttp.ClientHttpProxyError):
        return ServiceUnavailableError(
            f"T{str(proxy)[1:]} refused the connection to {host}: {error.status} {error.message}.",
            hint=f"Check user and password in {proxy.variable}, or set NO_PROXY to {urlsplit(base).hostname}.",
        )
    if proxy is not None and isinstance(error, aiohttp.ClientProxyConnectionError):
        return ServiceUnavailableError(
            f"T{str(proxy)[1:]} cannot be reached: {_detail(error)}.",
            hint=f"Check {proxy.variable}, or set NO_PROXY to {urlsplit(base).hostname}.",
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ProtocolError(
            f"The certificate of {host} is not trusted: {error.certificate_error}.",
            hint="Pass ssl_context= with your certificate authority, or replace the certificate.",
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return ProtocolError(
            f"No TLS with {host}: {error}.",
            hint="Check that the port speaks TLS, or use http:// for one that does not.",
        )
    if isinstance(error, aiohttp.InvalidURL):
        return ProtocolError(f"{base} cannot be connected to.")
    through = "" if proxy is None else f" through {proxy}"
    return ServiceUnavailableError(
        f"{host} cannot be reached{through}: {_detail(error)}.", hint="Check the URL, and that the service runs."
    )


def _detail(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _refused(status: int, after: float | None, base: str, proxy: Proxy | None) -> GreenroomError:
    host = _host(base)
    through = "" if proxy is None else f" through {proxy}"
    if status == 429:
        return RateLimitedError(f"{host} answered {status}{through}.", retry_after=after)
    if status in _UNAVAILABLE:
        return ServiceUnavailableError(f"{host} answered {status}{through}.", retry_after=after)
    return ProtocolError(
        f"{host} answered {status}{through} where a session was to be opened.",
        hint="Check the URL's path, and that a proxy in between passes WebSocket upgrades on.",
    )


async def fetch_token(base: str, ssl_context: ssl.SSLContext | None, app_key: str, app_secret: str) -> str:
    """A v1 client access token (`POST /v1/oauth2/token`, HTTP Basic). Raises a GreenroomError."""
    proxy = proxy_of(base)
    credentials = base64.b64encode(f"{app_key}:{app_secret}".encode()).decode()
    options = _options(base, ssl_context, proxy, {"Authorization": f"Basic {credentials}"})
    limit = aiohttp.ClientTimeout(total=TOKEN_LIMIT)
    form = {"grant_type": "client_credentials"}
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=limit) as client,
            client.post(base + "/v1/oauth2/token", data=form, **options) as reply,
        ):
            after = retry_after_of(reply.headers.get("Retry-After"), time.time())
            if reply.status == 401:
                raise TokenInvalidError(code=ErrorCode.INVALID_CLIENT)
            if reply.status != 200:
                raise _refused(reply.status, after, base, proxy)
            return _access_token(await reply.json(content_type=None))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _explain(error, base, proxy) from error
    except ValueError as error:
        if isinstance(error, GreenroomError):
            raise
        raise ProtocolError("The token endpoint did not answer in JSON.") from None


def _access_token(body: object) -> str:
    token = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(token, str):
        raise ProtocolError("The token endpoint's answer has no access_token.")
    return token
