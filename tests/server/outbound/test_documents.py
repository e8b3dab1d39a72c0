"""Fetching a document on an app's behalf: what is refused, how much is read, and for how long it may be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from greenroom.errors import IllegalArgumentError
from greenroom.server.outbound.documents import MAX_BYTES, Document, DocumentFetcher, FetchFailedError, max_age_of
from greenroom.server.outbound.lookups import NameLookups
from greenroom.server.wire.addresses import parse_networks

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HERE = parse_networks(["127.0.0.0/8"])


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/jwks", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    finally:
        await runner.cleanup()


async def fetched(handler: Handler, timeout: float = 10.0) -> Document:
    fetcher = DocumentFetcher(allowed=HERE, allow_http=True, timeout=timeout)
    try:
        async with serving(handler) as url:
            return await fetcher.fetch(url, app="app")
    finally:
        await fetcher.close()


async def test_a_document_with_what_cache_control_says() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in request.headers
        return web.Response(body=b"{}", headers={"Cache-Control": "public, max-age=600"})

    assert await fetched(answer) == (b"{}", 600.0)


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 500, 503])
async def test_any_other_status_is_a_failure_and_redirects_are_not_followed(status: int) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/jwks?again"})

    with pytest.raises(FetchFailedError, match=f"status {status}"):
        await fetched(answer)
    assert asked == ["/jwks"]


async def test_no_more_is_read_than_is_allowed() -> None:
    written = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(2000):
                await response.write(b"x" * 16_384)
                written += 16_384
        except ConnectionError:
            pass
        return response

    with pytest.raises(FetchFailedError, match=f"more than {MAX_BYTES} bytes"):
        await fetched(answer)
    assert written < 2000 * 16_384

    async def just_enough(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * MAX_BYTES)

    assert len((await fetched(just_enough)).body) == MAX_BYTES


async def test_an_answer_that_drips_is_given_up_in_time() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    with pytest.raises(FetchFailedError, match=r"no answer within 0\.3 s"):
        await fetched(answer, timeout=0.3)


async def test_what_cannot_be_reached_is_said_without_the_address() -> None:
    fetcher = DocumentFetcher(allowed=HERE, allow_http=True)
    try:
        with pytest.raises(FetchFailedError, match="the issuer refuses connections") as caught:
            await fetcher.fetch("http://127.0.0.1:9/jwks", app="app")
    finally:
        await fetcher.close()
    assert "127.0.0.1" not in str(caught.value)


async def test_a_name_that_leads_to_a_private_address_is_refused() -> None:
    answers = [(2, 1, 6, "", ("169.254.169.254", 443))]
    fetcher = DocumentFetcher(lookups=NameLookups(look_up=lambda *_a, **_k: answers))
    try:
        with pytest.raises(FetchFailedError, match="the issuer's name resolves to a private address"):
            await fetcher.fetch("https://id.example/jwks", app="app")
    finally:
        await fetcher.close()


@pytest.mark.parametrize(
    ("url", "allow_http", "why"),
    [
        ("https://id.example/jwks", False, None),
        ("http://id.example/jwks", False, "is without TLS"),
        ("http://id.example/jwks", True, "is without TLS"),  # of this machine alone
        ("http://127.0.0.1:8080/jwks", True, None),
        ("http://localhost:8080/jwks", True, None),
        ("http://127.0.0.1:8080/jwks", False, "is without TLS"),
        ("https://user:pass@id.example/jwks", False, "must have no user name"),
        ("https://10.0.0.1/jwks", False, "resolves to a private address"),
        ("https:///jwks", False, "names no host"),
        ("file:///etc/passwd", True, "must begin with https"),
    ],
)
def test_where_key_sets_may_be(url: str, allow_http: bool, why: str | None) -> None:
    fetcher = DocumentFetcher(allowed=HERE, allow_http=allow_http)
    if why is None:
        assert fetcher.check(url) == url
        return
    with pytest.raises(IllegalArgumentError, match=f"The key set's URL {why}"):
        fetcher.check(url)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["public"], None),
        (["max-age=60"], 60.0),
        (["public, max-age=19845, must-revalidate, no-transform"], 19845.0),
        (["public", "max-age=5"], 5.0),
        (['Max-Age="7"'], 7.0),
        (["s-maxage=9"], None),
        (["no-cache"], 0.0),
        (["no-store, max-age=60"], 0.0),
        (["max-age=-1"], None),
        (["max-age=99999999999999"], 999_999_999.0),
        (["x-no-cache-y"], None),
    ],
)
def test_cache_control(headers: list[str], seconds: float | None) -> None:
    assert max_age_of(headers) == seconds
