"""WebSocket and token endpoint over aiohttp, which is imported at the first open."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import socket
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from greenroom.codes import CloseCode, ErrorCode
from greenroom.errors import (
    GreenroomError,
    IllegalArgumentError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TokenInvalidError,
)
from greenroom.messages import PATH, SUBPROTOCOL
from greenroom.sdk.tasks import start_task

if TYPE_CHECKING:
    import ssl

    import aiohttp

CLOSE_LIMIT = 2.0
"""Seconds that a closing handshake may take before the connection is aborted."""
TOKEN_LIMIT = 10.0
"""Seconds for a request to the token endpoint."""
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_UNAVAILABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


def service_base(url: str) -> str:
    """The service's address as http(s), without a slash at the end. Takes http, https, ws and wss.

    Raises IllegalArgumentError.
    """
    parts = urlsplit("")
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError, TypeError):
        well_formed = False
    if not well_formed:
        raise IllegalArgumentError("The service's URL is not one.", hint="Pass e.g. https://sessions.example.com.")
    if parts.query or parts.fragment or parts.username is not None:
        raise IllegalArgumentError(
            "The service's URL has a query, a fragment or a user in it.", hint="Pass scheme, host, port and path alone."
        )
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/"), "", ""))


def retry_after_of(value: str | None, wall: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3), which may also be a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - wall)
    except ValueError:
        return None


class AiohttpWebSocket:
    """One WebSocket. Implements `greenroom.sdk.environment.ClientWebSocket`."""

    def __init__(self, web_socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = web_socket
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
            self._abort_timer = asyncio.get_running_loop().call_later(CLOSE_LIMIT * 1.5, self._abort)

    async def messages(self) -> AsyncIterator[str]:
        """Received messages, until the connection is over."""
        import aiohttp

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
                return self._abort()  # ends the reader too

    def _abort(self) -> None:
        """Abort a connection whose peer does not answer."""
        plug = self._socket.get_extra_info("socket")
        if plug is not None:
            with contextlib.suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)

    def close_code(self) -> int:
        """1006 where no Close frame came."""
        return self._socket.close_code or CloseCode.ABNORMAL

    def close_reason(self) -> str:
        """The reason in the Close frame; "" where it has none, or none came."""
        return self._reason

    async def aclose(self) -> None:
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            await asyncio.wait_for(self._socket.close(code=CloseCode.COME_BACK), CLOSE_LIMIT)


class AiohttpTransport:
    """Connects over aiohttp. ssl_context: None verifies against the system's authorities. Proxies: from the environment
    (HTTPS_PROXY, NO_PROXY)."""

    def __init__(self, base: str, ssl_context: ssl.SSLContext | None = None) -> None:
        self.base = base
        self._ssl = ssl_context
        self._http: aiohttp.ClientSession | None = None

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(trust_env=True)
        return self._http

    async def connect(self) -> AiohttpWebSocket:
        """Raises a GreenroomError: ServiceUnavailableError where trying again may help, ProtocolError where not."""
        import aiohttp

        options: dict[str, Any] = {} if self._ssl is None else {"ssl": self._ssl}
        try:
            web_socket = await self._session().ws_connect(
                self.base + PATH,
                protocols=(SUBPROTOCOL,),
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_LIMIT),
                compress=0,
                autoclose=False,  # it would answer any Close with 1000, which is `close`'s alone (S6)
                **options,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._explain(error) from error
        if web_socket.protocol != SUBPROTOCOL:
            await web_socket.close()
            raise ProtocolError(f"{self._host()} answered, but not in {SUBPROTOCOL}: is it a Greenroom service?")
        return AiohttpWebSocket(web_socket)

    def _host(self) -> str:
        return urlsplit(self.base).netloc

    def _explain(self, error: Exception) -> GreenroomError:
        import aiohttp

        host = self._host()
        if isinstance(error, aiohttp.WSServerHandshakeError):
            after = None if error.headers is None else error.headers.get("Retry-After")
            return self._refused(error.status, retry_after_of(after, time.time()))
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return ProtocolError(
                f"The certificate of {host} is not trusted: {error.certificate_error}.",
                hint="Pass ssl_context= with your certificate authority, or mend the certificate.",
            )
        if isinstance(error, aiohttp.ClientSSLError):
            return ProtocolError(
                f"No TLS with {host}: {error}.",
                hint="Check that the port speaks TLS, or use http:// for one that does not.",
            )
        if isinstance(error, aiohttp.InvalidURL):
            return ProtocolError(f"{self.base} cannot be connected to.")
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ServiceUnavailableError(
            f"{host} cannot be reached: {detail}.", hint="Check the URL, and that the service runs."
        )

    def _refused(self, status: int, after: float | None) -> GreenroomError:
        host = self._host()
        if status == 429:
            return RateLimitedError(f"{host} answered {status}.", retry_after=after)
        if status in _UNAVAILABLE:
            return ServiceUnavailableError(f"{host} answered {status}.", retry_after=after)
        return ProtocolError(
            f"{host} answered {status} where a session was to be opened.",
            hint="Check the URL's path, and that a proxy in between passes WebSocket upgrades on.",
        )

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        """A v1 client access token (`POST /v1/oauth2/token`, HTTP Basic). Raises a GreenroomError."""
        import aiohttp

        options: dict[str, Any] = {} if self._ssl is None else {"ssl": self._ssl}
        try:
            async with self._session().post(
                self.base + "/v1/oauth2/token",
                data={"grant_type": "client_credentials"},
                headers={"Authorization": aiohttp.encode_basic_auth(app_key, app_secret, "utf-8")}
                if hasattr(aiohttp, "encode_basic_auth")
                else {"Authorization": aiohttp.BasicAuth(app_key, app_secret, "utf-8").encode()},
                timeout=aiohttp.ClientTimeout(total=TOKEN_LIMIT),
                **options,
            ) as reply:
                after = retry_after_of(reply.headers.get("Retry-After"), time.time())
                if reply.status == 401:
                    raise TokenInvalidError(code=ErrorCode.INVALID_CLIENT)
                if reply.status != 200:
                    raise self._refused(reply.status, after)
                return _access_token(await reply.json(content_type=None))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._explain(error) from error
        except ValueError as error:
            if isinstance(error, GreenroomError):
                raise
            raise ProtocolError("The token endpoint did not answer in JSON.") from None

    async def aclose(self) -> None:
        """Release everything. `connect` works again afterwards."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()


def _access_token(body: object) -> str:
    token = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(token, str):
        raise ProtocolError("The token endpoint's answer has no access_token.")
    return token
