"""One attempt to deliver one message over HTTP, guarded and bounded.

The address connected to is the one that was checked (`ssrf`), redirects are never followed, nothing of the environment
(proxies, netrc, cookies) is used, and of the answer only the status and Retry-After are looked at.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from greenroom.errors import IllegalArgumentError
from greenroom.server.outbound.failures import words_of
from greenroom.server.outbound.lookups import ON_BEHALF_OF, NameLookups
from greenroom.server.outbound.ssrf import GuardedResolver, check_url
from greenroom.server.wire.addresses import Network

CONNECT_TIMEOUT = 5.0
"""Seconds to resolve, connect and shake hands."""
TOTAL_TIMEOUT = 15.0
"""Seconds from the start to the end of the answer's head; the specification proposes 15 to 30."""
DRAIN_BYTES = 16_384
"""What is read of an answer's body, to keep the connection; where there is more, or it is slow, it is closed."""
DRAIN_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The result of an attempt. status: None where no answer came. why: for people; "" for a success.

    retry_after: seconds. took: seconds.
    """

    status: int | None
    why: str
    retry_after: float | None = None
    took: float = 0.0

    @property
    def delivered(self) -> bool:
        """2xx, and nothing else."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """410: the receiver accepts no more events."""
        return self.status == 410


@dataclass(slots=True)
class _Use:
    """Of a connection, by one request. reused: whether other requests had it before."""

    reused: bool = False


def _trace_reuse() -> aiohttp.TraceConfig:
    async def reused(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.reused = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(reused)
    return trace


class Sender:
    """Posts messages. One for each node.

    allowed: networks of the operator's that may be posted to although they are not public. allow_http: without TLS.
    wall: Unix seconds, for Retry-After dates. tls: None is the system's trust. lookups: of names; None is a set of its
    own.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        allow_http: bool = False,
        wall: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        total_timeout: float = TOTAL_TIMEOUT,
        lookups: NameLookups | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._allow_http = allow_http
        self._wall = wall
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._total_timeout = total_timeout
        self._resolver = GuardedResolver(self._allowed, lookups)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        """By whether each attempt makes a new connection."""

    def check(self, url: str) -> str:
        """The URL, if it may be posted to as far as its text says. Raises IllegalArgumentError."""
        return check_url(url, allow_http=self._allow_http, allowed=self._allowed)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str], *, app: str = "") -> DeliveryOutcome:
        """One attempt, on behalf of an application. Never raises but for cancellation."""
        began = time.monotonic()
        ON_BEHALF_OF.set(app)
        try:
            self.check(url)
            async with asyncio.timeout(self._total_timeout):
                response = await self._post(url, body, headers)
            try:
                return self._judge(response, time.monotonic() - began)
            finally:
                await _drain(response)
        except IllegalArgumentError as error:
            return DeliveryOutcome(None, error.message)
        except TimeoutError:
            why = f"no answer within {self._total_timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = words_of(error, "receiver")
        return DeliveryOutcome(None, why, took=time.monotonic() - began)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The answer. Receivers close connections that were idle, and may do so in the moment in which one is used
        again: what fails on such a one before anything was answered is sent again at once, on a new one."""
        use = _Use()
        try:
            return await self._session(fresh=False).post(
                url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=use
            )
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
            if not use.reused:
                raise
        return await self._session(fresh=True).post(url, data=body, headers=headers, allow_redirects=False)

    async def close(self) -> None:
        """Closes all connections."""
        while self._sessions:
            await self._sessions.popitem()[1].close()

    def _session(self, *, fresh: bool) -> aiohttp.ClientSession:
        found = self._sessions.get(fresh)
        if found is None:
            # No DNS cache: an address is checked for the connection that is made to it. No limit over all receivers:
            # each endpoint's worker has its own, so that a slow one takes nobody else's place.
            connector = aiohttp.TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,
                limit=0,
                force_close=fresh,
                ssl=True if self._tls is None else self._tls,
            )
            found = self._sessions[fresh] = aiohttp.ClientSession(
                connector=connector,
                trace_configs=[_trace_reuse()],
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_timeout),
            )
        return found

    def _judge(self, response: aiohttp.ClientResponse, took: float) -> DeliveryOutcome:
        status = response.status
        if 200 <= status < 300:
            return DeliveryOutcome(status, "", took=took)
        why = f"status {status}"
        if 300 <= status < 400:
            why += ": redirects are not followed"
        return DeliveryOutcome(status, why, retry_after(response.headers.get("Retry-After"), self._wall()), took)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3): a number, or a date. None: neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Reads a small rest, so that the connection can be used again; closes it where there is more than that."""
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT):
            while left > 0 and not response.content.at_eof():
                left -= len(await response.content.read(left))
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    if response.content.at_eof():
        response.release()
    else:
        response.close()
