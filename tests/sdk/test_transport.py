"""The way to the service: URLs, refusals, TLS, proxies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from greenroom import Greenroom, GreenroomError, ProtocolError, RateLimitedError, ServiceUnavailableError
from greenroom.messages import SUBPROTOCOL
from greenroom.sdk.addresses import retry_after_of, service_base
from greenroom.sdk.aiohttp_client import AiohttpWebSocket
from greenroom.sdk.transport import AiohttpTransport
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.certificates import self_signed, server_context
from tests.support.patience import PATIENCE
from tests.support.sdk import new_sdk


@asynccontextmanager
async def upgraded_by(upgrade: Callable[[web.Request], Awaitable[web.WebSocketResponse]]) -> AsyncIterator[str]:
    """The address of a server whose sessions this makes."""
    app = web.Application()
    app.router.add_get("/v1/session", upgrade)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://a.example", "https://a.example"),
        ("http://a.example:8080/", "http://a.example:8080"),
        ("ws://a.example/sessions/", "http://a.example/sessions"),
        ("wss://a.example/x", "https://a.example/x"),
        ("https://[::1]:1/", "https://[::1]:1"),
    ],
)
def test_urls(url: str, base: str) -> None:
    assert service_base(url) == base


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10.0),
        ("soon", None),
        ("Wed, 01 Jan 2014 00:00:00 GMT", 0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    wall = datetime(2015, 10, 21, 7, 27, 50, tzinfo=UTC).timestamp()
    assert retry_after_of(value, wall) == seconds


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


async def test_no_secret_is_in_the_url() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        await sdk.session.close()
        assert service.paths == ["/v1/session"]


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


SCRIPT = """
import asyncio, sys
from greenroom import Greenroom

async def main():
    sdk = Greenroom(sys.argv[1])
    {initialize}
    try:
        await sdk.session.open(timeout=60.0)
    except Exception as error:
        print(type(error).__name__)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("initialize", "output"),
    [("sdk.initialize('key', 'wrong')", "TokenInvalidError\n"), ("sdk.initialize_token(sys.argv[2])", "")],
    ids=["a wrong secret", "a script that ends without close"],
)
async def test_no_noise_of_aiohttp(initialize: str, output: str) -> None:
    async with FakeService() as service:
        program = SCRIPT.replace("{initialize}", initialize)
        arguments = [sys.executable, "-W", "default", "-c", program, service.url, make_token()]
        done = await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(done.communicate(), PATIENCE)
    assert (out.decode(), err.decode()) == (output, "")
