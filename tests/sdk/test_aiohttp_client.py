"""WebSocket and token endpoint over aiohttp: refusals, TLS, proxies, and ends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from greenroom import (
    Greenroom,
    GreenroomError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TokenInvalidError,
)
from greenroom.messages import SUBPROTOCOL
from greenroom.sdk.aiohttp_client import AiohttpWebSocket
from greenroom.sdk.transport import AiohttpTransport
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.certificates import self_signed, server_context
from tests.support.patience import PATIENCE


@asynccontextmanager
async def served(route: web.RouteDef) -> AsyncIterator[str]:
    """The address of a server that has this alone."""
    app = web.Application()
    app.router.add_routes([route])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def upgraded_by(upgrade: Callable[[web.Request], Awaitable[web.WebSocketResponse]]) -> AsyncIterator[str]:
    """The address of a server whose sessions this makes."""
    async with served(web.get("/v1/session", upgrade)) as url:
        yield url


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, ServiceUnavailableError),
        (429, RateLimitedError),
        (502, ServiceUnavailableError),
        (403, ProtocolError),
        (200, ProtocolError),
    ],
)
async def test_refused_upgrades(status: int, error: type[GreenroomError]) -> None:
    async with FakeService() as service:
        service.unavailable = (status, "4")
        transport = AiohttpTransport(service.url)
        with pytest.raises(error, match=str(status)) as caught:
            await transport.connect()
        assert getattr(caught.value, "retry_after", 4.0) == 4.0


async def test_nobody_listens() -> None:
    async with FakeService() as service:
        url = service.url
    transport = AiohttpTransport(url)
    with pytest.raises(ServiceUnavailableError, match="cannot be reached.*Check the URL"):
        await transport.connect()


async def test_a_websocket_server_that_is_no_greenroom() -> None:
    async def upgrade(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async with upgraded_by(upgrade) as url:
        sdk = Greenroom(url)
        sdk.initialize_token(make_token())
        with pytest.raises(ProtocolError, match="is it a Greenroom service"):
            await sdk.session.open()
        await sdk.session.close()


async def test_a_close_is_answered_with_4000_never_1000() -> None:
    answered: list[int | None] = []

    async def upgrade(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        await socket.close(code=4001, message=b"why")
        answered.append(socket.close_code)
        return socket

    async with upgraded_by(upgrade) as url:
        connection = await AiohttpTransport(url).connect()
        assert [message async for message in connection.messages()] == []
        assert (connection.close_code(), connection.close_reason()) == (4001, "why")
        await connection.aclose()
    assert answered == [4000]


async def test_a_peer_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.sdk.aiohttp_client.CLOSE_LIMIT", 0.1)
    stuck = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: greenroom.v1\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await stuck.wait()  # and never reads
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    transport = AiohttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    connection = await transport.connect()
    for _ in range(200):
        connection.send(b"x" * 100_000)
    connection.disconnect(4000)
    async with asyncio.timeout(PATIENCE):
        assert [message async for message in connection.messages()] == []
        await connection.aclose()
    stuck.set()
    server.close()
    await server.wait_closed()


async def test_tls_is_verified_and_its_errors_are_explained(tmp_path: Path) -> None:
    path = self_signed(tmp_path)
    async with FakeService(ssl_context=server_context(path)) as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token())
        with pytest.raises(ProtocolError, match="certificate of 127.0.0.1.*not trusted.*ssl_context"):
            await sdk.session.open()
        await sdk.session.close()
        trusting = Greenroom(service.url, ssl_context=ssl.create_default_context(cafile=path))
        trusting.initialize_token(make_token())
        await trusting.session.open()
        await trusting.session.close()


async def test_tls_where_there_is_none() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url.replace("http", "https"))
        sdk.initialize_token(make_token())
        with pytest.raises(ProtocolError, match="No TLS with"):
            await sdk.session.open()
        await sdk.session.close()


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    transport = AiohttpTransport("http://sessions.example")
    with pytest.raises(ServiceUnavailableError):
        await transport.connect()
    server.close()
    await server.wait_closed()
    assert b"sessions.example" in asked[0]


async def test_a_netrc_file_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login anna password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    seen: list[str | None] = []

    async def upgrade(request: web.Request) -> web.WebSocketResponse:
        seen.append(request.headers.get("Authorization"))
        socket = web.WebSocketResponse(protocols=("greenroom.v1",))
        await socket.prepare(request)
        await socket.close()
        return socket

    async with upgraded_by(upgrade) as url:
        connection = await AiohttpTransport(url).connect()
        await connection.aclose()
    assert seen == [None]
    async with FakeService() as service:
        assert await AiohttpTransport(service.url).fetch_token("key", "secret")


async def test_a_proxy_that_is_down_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        monkeypatch.delenv("http_proxy", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(ServiceUnavailableError, match=rf"proxy http://127\.0\.0\.1:{port} \(from HTTP_PROXY\)"):
            await AiohttpTransport("http://sessions.example").connect()


@pytest.mark.uvloop
async def test_on_uvloop_a_connection_is_aborted_without_a_type_error() -> None:
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with FakeService() as service:
        connection = await AiohttpTransport(service.url).connect()
        assert isinstance(connection, AiohttpWebSocket)
        connection.abort()
        assert [message async for message in connection.messages()] == []
        assert connection.close_code() == 1006
        await connection.aclose()
    assert problems == []


# -- the token endpoint -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(status: int, body: str) -> AsyncIterator[tuple[AiohttpTransport, list[Any]]]:
    """A token endpoint that answers so, and what it was asked."""
    asked: list[Any] = []

    async def token(request: web.Request) -> web.Response:
        asked.append((request.headers.get("Authorization"), dict(await request.post())))
        return web.Response(status=status, text=body, headers={"Retry-After": "4"})

    async with served(web.post("/v1/oauth2/token", token)) as url:
        yield AiohttpTransport(url), asked


async def test_a_token_is_asked_for_with_key_and_secret_and_nothing_else() -> None:
    async with answering(200, '{"access_token": "a.b.c", "more": 1}') as (transport, asked):
        assert await transport.fetch_token("key", "s:é") == "a.b.c"
        (authorization, form) = asked[0]
        assert base64.b64decode(authorization.removeprefix("Basic ")).decode() == "key:s:é"
        assert form == {"grant_type": "client_credentials"}


@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (401, "{}", TokenInvalidError, "[Kk]ey"),
        (429, "", RateLimitedError, "answered 429"),
        (503, "", ServiceUnavailableError, "answered 503"),
        (404, "", ProtocolError, "answered 404"),
        (200, "<html>", ProtocolError, "did not answer in JSON"),
        (200, "[]", ProtocolError, "no access_token"),
        (200, '{"access_token": 5}', ProtocolError, "no access_token"),
    ],
)
async def test_what_is_no_token_is_said(status: int, body: str, error: type[GreenroomError], text: str) -> None:
    async with answering(status, body) as (transport, _):
        with pytest.raises(error, match=text) as caught:
            await transport.fetch_token("key", "hunter2")
        assert getattr(caught.value, "retry_after", 4.0) in (4.0, None)
        assert "hunter2" not in str(caught.value)


async def test_a_token_endpoint_that_nobody_serves_may_be_asked_again() -> None:
    async with answering(200, "") as (transport, _):
        pass
    with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        await transport.fetch_token("key", "secret")
