"""The same connections over TLS, where a transport cannot be half closed and writes are never direct."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom.server.wire.addresses import Limits
from greenroom.server.wire.front_door import FrontDoor
from greenroom.server.wire.interface import WebSocketOptions
from tests.server.raw_client import (
    TEXT,
    PlainHttp,
    RawClient,
    Recorder,
    close_frame,
    frame,
    handshake,
    loopback,
    turning_wheel,
)
from tests.support.certificates import self_signed
from tests.support.patience import PATIENCE, until

BOTH_LOOPS = pytest.mark.parametrize(
    "loop_name", [pytest.param("uvloop", marks=pytest.mark.uvloop), pytest.param("asyncio")]
)


@contextlib.asynccontextmanager
async def encrypted(
    folder: Path, limits: Limits | None = None, options: WebSocketOptions | None = None
) -> AsyncIterator[tuple[RawClient, FrontDoor, list[Recorder]]]:
    """A client of a front door behind TLS."""
    path = self_signed(folder)
    here, there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context(cafile=str(path))
    here.load_cert_chain(path)
    handlers: list[Recorder] = []

    def take(_request: object) -> Recorder:
        handlers.append(Recorder())
        return handlers[-1]

    options = options or WebSocketOptions(close_timeout=0.5)
    with turning_wheel() as wheel:
        door = FrontDoor(
            http=PlainHttp(), sessions=take, limits=limits or Limits(), wheel=wheel, options=options, tls=here
        )
        server = await door.listen(loopback())
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=there)
        try:
            yield RawClient(reader, writer), door, handlers
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            server.close()
            await door.finish_requests(1.0)
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
async def test_connections_count_before_their_tls_handshake(loop_name: str, tmp_path: Path) -> None:
    async with encrypted(tmp_path, Limits(connections_per_address=3)) as (client, door, _handlers):
        address = client.writer.get_extra_info("peername")
        silent = [await asyncio.open_connection(*address) for _ in range(2)]
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        assert door.limits.connections("127.0.0.1") == 3
        assert door.refused == {429: 1}
        for _, each in silent:
            each.close()
        await until(lambda: door.limits.connections("127.0.0.1") <= 1)
        writer.close()
        await client.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.response()).status == 200


@BOTH_LOOPS
async def test_a_client_that_never_begins_its_tls_handshake_is_cut_off(loop_name: str, tmp_path: Path) -> None:
    options = WebSocketOptions(head_timeout=0.1, close_timeout=0.5)
    async with encrypted(tmp_path, options=options) as (client, door, _handlers):
        address = client.writer.get_extra_info("peername")
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        await until(lambda: not door.limits.connections("127.0.0.1"))


@BOTH_LOOPS
async def test_a_refusal_over_tls(loop_name: str, tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (client, _door, _handlers):
        await client.send(handshake(subprotocol=None))
        assert (await client.response()).status == 400
        assert await client.events() == [("eof", None)]
