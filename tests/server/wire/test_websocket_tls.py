"""The same connections over TLS, where a transport cannot be half closed and writes are never direct."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from greenroom.server.wire.addresses import Limits
from greenroom.server.wire.front_door import FrontDoor, make_front_door
from greenroom.server.wire.interface import WebSocketOptions
from tests.server.raw_client import TEXT, RawClient, Recorder, close_frame, frame, handshake, plain_http

BOTH_LOOPS = pytest.mark.parametrize(
    "loop_name", [pytest.param("uvloop", marks=pytest.mark.uvloop), pytest.param("asyncio")]
)


def certificate(folder: Path) -> Path:
    """A certificate of its own for 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "tls.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@contextlib.asynccontextmanager
async def encrypted(folder: Path) -> AsyncIterator[tuple[RawClient, FrontDoor, list[Recorder]]]:
    """A client of a front door behind TLS."""
    path = certificate(folder)
    here, there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context(cafile=str(path))
    here.load_cert_chain(path)
    handlers: list[Recorder] = []

    def take(_request: object) -> Recorder:
        handlers.append(Recorder())
        return handlers[-1]

    http = web.Server(plain_http)
    door = make_front_door(http=http, sessions=take, limits=Limits(), options=WebSocketOptions(close_timeout=0.5))
    server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0, ssl=here, ssl_shutdown_timeout=0.5)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=there)
    try:
        yield RawClient(reader, writer), door, handlers
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        server.close()
        await http.shutdown(1.0)
        door.abort_all()
        while door.connections or door.visitors:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@BOTH_LOOPS
async def test_a_session_over_tls(loop_name: str, tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (client, _door, handlers):
        await client.send(handshake() + frame(TEXT, b"early"))
        assert (await client.response()).status == 101
        assert await client.event() == ("text", b"early")
        for size in (0, 125, 126, 32_768):
            await client.send(frame(TEXT, b"x" * size))
            assert await client.event() == ("text", b"x" * size)
        await client.send(close_frame(1000, b"bye"))
        assert await client.closed_with() == ([], 1000)
        assert await handlers[0].ended() == ("lost", 1000, "bye")


@BOTH_LOOPS
async def test_http_and_a_later_upgrade_over_tls(loop_name: str, tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (client, _door, _handlers):
        await client.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.response()).status == 200
        await client.send(handshake() + frame(TEXT, b"early"))
        assert (await client.response()).status == 101
        assert await client.event() == ("text", b"early")


@BOTH_LOOPS
@pytest.mark.parametrize(("sent", "code"), [(frame(3), 1002), (frame(TEXT, b"\xff"), 1007), (frame(2), 1003)])
async def test_a_violation_over_tls(sent: bytes, code: int, loop_name: str, tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (client, _door, handlers):
        await client.send(handshake() + sent)
        assert (await client.response()).status == 101
        assert await client.event() == ("close", (code, (await handlers[0].ended())[2]))


@BOTH_LOOPS
async def test_a_slow_reader_over_tls(loop_name: str, tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (client, _door, handlers):
        await client.send(handshake())
        assert (await client.response()).status == 101
        websocket = handlers[0].websocket
        assert websocket is not None
        for _ in range(200):
            websocket.send(b"x" * 60_000)
        assert websocket.closed
        assert (await handlers[0].ended())[:2] == ("lost", 4002)


@BOTH_LOOPS
async def test_a_refusal_over_tls(loop_name: str, tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (client, _door, _handlers):
        await client.send(handshake(subprotocol=None))
        assert (await client.response()).status == 400
        assert await client.events() == [("eof", None)]
