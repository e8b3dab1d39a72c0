"""The generator's own WebSocket client, fed by hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from greenroom.bench.wire import ConnectFailedError, Dialer, WireConnection, frame, loopback_sources

_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class FakeTransport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


def _connection() -> tuple[WireConnection, FakeTransport, list[bytes]]:
    received: list[bytes] = []
    connection = WireConnection(b"HEAD", asyncio.get_running_loop(), received.append)
    transport = FakeTransport()
    connection.connection_made(cast(Any, transport))
    return connection, transport, received


def _served(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2) + payload
    return bytes((first, 127)) + size.to_bytes(8) + payload


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
async def test_messages_of_every_length_arrive_whole(size: int) -> None:
    connection, _, received = _connection()
    connection.data_received(_UPGRADED)
    await connection.opened()
    connection.data_received(_served(b"x" * size))
    assert received == [b"x" * size]


async def test_a_stream_cut_anywhere_is_the_same_stream() -> None:
    stream = _UPGRADED + _served(b"one") + _served(b"y" * 300) + _served(b"", 0x89) + _served(b"two")
    for step in (1, 2, 3, 7, len(stream)):
        connection, transport, received = _connection()
        for start in range(0, len(stream), step):
            connection.data_received(stream[start : start + step])
        assert received == [b"one", b"y" * 300, b"two"]
        assert connection.pings == 1
        assert transport.written[-1] == frame(b"", 0x8A)


async def test_a_close_is_answered_and_reported() -> None:
    connection, transport, _ = _connection()
    connection.data_received(_UPGRADED + _served((4_001).to_bytes(2) + b"why", 0x88))
    assert transport.written[-1] == frame((4_001).to_bytes(2) + b"why", 0x88)
    assert transport.closed
    connection.connection_lost(None)
    assert await connection.lost == 4_001


async def test_a_connection_without_close_is_1006() -> None:
    connection, _, _ = _connection()
    connection.data_received(_UPGRADED)
    connection.connection_lost(None)
    assert await connection.lost == 1006


async def test_a_refused_handshake_says_its_status() -> None:
    connection, transport, _ = _connection()
    connection.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    with pytest.raises(ConnectFailedError, match="503"):
        await connection.opened()
    assert transport.aborted


def test_frames_of_a_client_are_masked_with_a_key_of_zeros() -> None:
    assert frame(b"hi") == b"\x81\x82\0\0\0\0hi"
    assert frame(b"x" * 200)[:8] == b"\x81\xfe\x00\xc8\0\0\0\0"
    assert frame(b"x" * 70_000)[:14] == b"\x81\xff" + (70_000).to_bytes(8) + b"\0\0\0\0"


def test_several_sources_on_loopback_only() -> None:
    assert loopback_sources("127.0.0.1", 2) == ("127.0.0.2", "127.0.0.3")
    assert loopback_sources("192.0.2.1") == ()
    assert loopback_sources("greenroom.example") == ()


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.5", "127.0.0.5"), ("localhost", "127.0.0.1")]
)
async def test_the_dialer_comes_from_its_sources_in_turn_to_the_host_that_was_named(host: str, address: str) -> None:
    came: list[str] = []

    async def upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername")[0])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_UPGRADED)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(upgraded, address, 0)
    port = server.sockets[0].getsockname()[1]
    dialer = Dialer(host, (port,), path="/", subprotocol=None, sources=loopback_sources(host, 2))
    for _ in range(3):
        connection = await dialer.dial(lambda _message: None)
        connection.abort()
        await connection.lost
    server.close()
    await server.wait_closed()
    assert came == ["127.0.0.2", "127.0.0.3", "127.0.0.2"]
