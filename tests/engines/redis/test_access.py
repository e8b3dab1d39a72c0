"""What stands before Redis: an ACL as documented, and TLS; and how connections to it end."""

from __future__ import annotations

import asyncio
import re
import time
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio.connection import AbstractConnection

from greenroom.engines.redis import RedisEngine
from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.topology import ask, make_topology
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.engine_contract import APP
from tests.support.certificates import self_signed
from tests.support.patience import PATIENCE
from tests.support.redis_server import RedisServer, free_ports, single
from tests.support.redis_world import RedisWorld

pytestmark = pytest.mark.slow
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "redis.md"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@dataclass(frozen=True)
class Secured:
    """A server that speaks TLS at a port of its own."""

    server: RedisServer
    port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={self.certificate}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    certificate = self_signed(tmp_path_factory.mktemp("tls"))
    (port,) = free_ports(1)
    options = ("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(certificate))
    with single(*options, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no") as running:
        yield Secured(running, port, certificate)


async def test_the_documented_acl_is_enough(server: RedisServer) -> None:
    found = re.search(r"An ACL for the service: `([^`]+)`", REFERENCE.read_text())
    assert found is not None
    rules = found[1].split()
    server.execute("ACL", "SETUSER", "greenroom", "reset", "on", ">pass-word", *rules)
    url = server.url.replace("//", "//greenroom:pass-word@") + "?wait_replicas=0"
    async with RedisWorld(url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        await a.update(name="x")
        await w.wait_for_delivery()
        assert w.listener.changes
        await a.detach(5)
        await w.advance(7)
        assert (await w.types())[-1] == "participant.offline"
        await w.engine.healthy()
        assert "unknown" not in (await w.engine.durability())[0]
    assert not server.execute("ACL", "LOG")


async def refusal(url: str) -> str:
    """What is said where the engine cannot be started."""
    engine = RedisEngine(url, timeout=15.0)
    with pytest.raises(ServiceUnavailableError) as caught:
        await engine.start()
    await engine.stop()
    return str(caught.value)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("greenroom:hunter2", ("invalid username-password pair", "user and password")),
        (":hunter2", ("without any password configured", "Leave the password out")),
        ("norights:hunter2", ("no permissions to run", "ACL SETUSER")),
        ("nofunctions:hunter2", ("no permissions to run the 'fcall' command", "ACL SETUSER")),
    ],
)
async def test_wrong_credentials_are_clear_errors_without_the_password(
    server: RedisServer, user: str, words: tuple[str, ...]
) -> None:
    server.execute("ACL", "SETUSER", "norights", "on", ">hunter2", "~*", "+ping")
    server.execute("ACL", "SETUSER", "nofunctions", "on", ">hunter2", "~*", "&*", "+@all", "-fcall")
    said = await refusal(server.url.replace("//", f"//{user}@"))
    assert all(word in said for word in words), said
    assert f"127.0.0.1:{server.port}" in said
    assert "hunter2" not in said


async def test_wrong_addresses_are_clear_errors(server: RedisServer) -> None:
    for url, words in (
        (f"redis://127.0.0.1:{server.port}/99", ("DB index is out of range", "number at the end")),
        (f"redis://nohost.invalid:{server.port}", ("nohost.invalid", "host name")),
        ("redis://127.0.0.1:1", ("127.0.0.1:1", "Start Redis there")),
        (f"redis+cluster://127.0.0.1:{server.port}", ("cluster support disabled", "redis:// for a single Redis")),
        (f"redis+sentinel://127.0.0.1:{server.port}", ("SENTINEL", "port 26379")),
        (f"rediss://127.0.0.1:{server.port}", ("rediss", "Write redis:// if the port does not speak TLS")),
    ):
        said = await refusal(url)
        assert all(word in said for word in words), (url, said)


async def test_a_plain_address_for_a_tls_port_is_a_clear_error(tls: Secured) -> None:
    said = await refusal(f"redis://127.0.0.1:{tls.port}/0")
    assert "rediss://" in said


async def test_tls(tls: Secured) -> None:
    engine = RedisEngine(tls.url, timeout=PATIENCE)
    await engine.start()
    (facts,) = await engine.store.facts()
    assert facts.version.startswith("7.")
    await engine.stop()


async def test_tls_with_a_certificate_of_nobody_we_know_is_refused(tls: Secured) -> None:
    said = await refusal(f"rediss://127.0.0.1:{tls.port}/0")
    assert "ssl_ca_certs" in said, said


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


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
async def test_the_end_of_a_tls_connection_leaves_no_socket_behind(tls: Secured, loop: str) -> None:
    async with dialed(tls.url) as (connection, socket):
        assert socket.fileno() >= 0
        await connection.disconnect()
        assert socket.fileno() == -1


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


async def test_what_a_server_does_not_take_holds_up_no_end_of_a_connection(server: RedisServer) -> None:
    async with dialed(server.url) as (connection, socket):
        server.pause()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(connection, "ECHO", "x" * 30_000_000), 0.5)
            assert socket.fileno() == -1
        finally:
            server.resume()
