"""Fetches a small document on an app's behalf: guarded as webhooks are, and bounded in size and time.

The address connected to is the one that was checked (`ssrf`), redirects are never followed, and nothing of the
environment (proxies, netrc, cookies) is used.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from greenroom.errors import IllegalArgumentError
from greenroom.server.outbound.failures import words_of
from greenroom.server.outbound.lookups import ON_BEHALF_OF, NameLookups
from greenroom.server.outbound.ssrf import GuardedResolver, check_url, is_loopback
from greenroom.server.wire.addresses import Network

TIMEOUT = 10.0
"""Seconds for the whole of it."""
MAX_BYTES = 64 * 1024
_MAX_AGE = re.compile(r"(?:\A|[\s,])max-age\s*=\s*\"?([0-9]{1,9})")
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_NEVER_KEPT = re.compile(r"(?:\A|[\s,])no-(?:store|cache)(?:[\s,=]|\Z)")


class FetchFailedError(Exception):
    """The request failed. The text is for people; it names no address and repeats nothing of the answer."""


class Document(NamedTuple):
    """body: at most `MAX_BYTES`. max_age: seconds for which it may be kept, as Cache-Control says (RFC 9111); None:
    it does not say."""

    body: bytes
    max_age: float | None


class DocumentFetcher:
    """allowed: networks of the operator's that may be asked although they are not public. allow_http: without TLS, of
    this machine alone. tls: None is the system's trust. timeout: seconds for each. lookups: of names; None is a set of
    its own."""

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        allow_http: bool = False,
        tls: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        lookups: NameLookups | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._allow_http = allow_http
        self._tls = tls
        self._timeout = timeout
        self._resolver = GuardedResolver(self._allowed, lookups)
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> str:
        """The URL, if it may be asked for as far as its text says. Raises IllegalArgumentError."""
        allow_http = self._allow_http and is_loopback(url)
        return check_url(url, allow_http=allow_http, allowed=self._allowed, subject="key set's URL")

    async def fetch(self, url: str, *, app: str) -> Document:
        """The document, on behalf of an application. Raises FetchFailedError."""
        ON_BEHALF_OF.set(app)
        try:
            self.check(url)
            async with (
                asyncio.timeout(self._timeout),
                self._open().get(url, allow_redirects=False, headers=_HEADERS) as response,
            ):
                return await _read(response)
        except IllegalArgumentError as error:
            why = error.message
        except TimeoutError:
            why = f"no answer within {self._timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = words_of(error, "issuer")
        raise FetchFailedError(why)

    async def close(self) -> None:
        """Closes all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A connection for each: an address is checked for the connection that is made to it, and a key set is
            # asked for every few minutes at most. No limit over all: who asks has one for each application.
            connector = aiohttp.TCPConnector(
                resolver=self._resolver, use_dns_cache=False, limit=0, force_close=True,
                ssl=True if self._tls is None else self._tls,
            )  # fmt: skip
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )  # fmt: skip
        return self._session


async def _read(response: aiohttp.ClientResponse) -> Document:
    if response.status != 200:
        redirected = ": redirects are not followed" if 300 <= response.status < 400 else ""
        raise FetchFailedError(f"status {response.status}{redirected}")
    body = bytearray()
    async for piece in response.content.iter_chunked(16_384):
        body += piece
        if len(body) > MAX_BYTES:
            raise FetchFailedError(f"the answer has more than {MAX_BYTES} bytes")
    return Document(bytes(body), max_age_of(response.headers.getall("Cache-Control", [])))


def max_age_of(headers: Sequence[str]) -> float | None:
    """Seconds for which an answer may be kept: 0 for no-store and no-cache; None where the headers do not say."""
    text = ",".join(headers).lower()
    if _NEVER_KEPT.search(text):
        return 0.0
    found = _MAX_AGE.search(text)
    return None if found is None else float(found[1])
