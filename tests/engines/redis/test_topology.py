"""Where the masters are, and how connections to them end."""

from __future__ import annotations

import asyncio
import time
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio.connection import AbstractConnection

from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.topology import ask, make_topology
from tests.support.redis_server import RedisServer, Secured, secured, single


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("tls")) as running:
        yield running


@asynccontextmanager
async def dialed(url: str) -> AsyncIterator[tuple[AbstractConnection, TransportSocket]]:
    """A connection as the engine makes them, and its socket."""
    topology = make_topology(parse_address(url), timeout=20.0, client_name="test")
    connection = await topology.connect(topology.masters()[0])
    assert connection._writer is not None
    try:
        yield connection, connection._writer.get_extra_info("socket")
    finally:
        await connection.disconnect()
        await topology.stop()


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
async def test_the_end_of_a_tls_connection_leaves_no_socket_behind(tls: Secured, loop: str) -> None:
    async with dialed(tls.url) as (connection, socket):
        assert socket.fileno() >= 0
        await connection.disconnect()
        assert socket.fileno() == -1


@pytest.mark.slow
@pytest.mark.parametrize("by", ["the reader", "the owner"])
async def test_a_server_that_stands_still_holds_up_no_end_of_a_tls_connection(tls: Secured, by: str) -> None:
    """It takes no goodbye; redis-py itself ends a connection on which a read is given up."""
    async with dialed(tls.url) as (connection, socket):
        tls.server.pause()
        try:
            at = time.monotonic()
            if by == "the owner":
                await connection.disconnect()
            else:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(ask(connection, "PING"), 0.05)
            assert socket.fileno() == -1
            assert time.monotonic() - at < 15, "asyncio waits 30 s for the goodbye"
        finally:
            tls.server.resume()


@pytest.mark.slow
async def test_what_a_server_does_not_take_holds_up_no_end_of_a_connection(server: RedisServer) -> None:
    async with dialed(server.url) as (connection, socket):
        server.pause()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(connection, "ECHO", "x" * 30_000_000), 0.5)
            assert socket.fileno() == -1
        finally:
            server.resume()
