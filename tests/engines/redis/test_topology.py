"""Where the masters are, and how connections to them end."""

from __future__ import annotations

import asyncio
import time
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ResponseError

from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.errors import NotSentError
from greenroom.engines.redis.topology import ANY, Topology, ask, make_topology
from greenroom.model import PARTITIONS
from tests.support.patience import PATIENCE, until
from tests.support.redis_server import RedisServer, Secured, single


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
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


# -- finding masters ---------------------------------------------------------------------------------------------------


class Served:
    """A server that speaks Redis' protocol and answers as a test says: an exception is an error reply."""

    def __init__(self, answer: Callable[[tuple[str, ...]], Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2].decode())
                command = tuple(words)
                if command[0] in ("CLIENT", "SELECT", "HELLO"):
                    writer.write(b"+OK\r\n")
                    continue
                self.asked.append(command)
                reply = self.answer(command)
                writer.write(encoded(await reply if asyncio.iscoroutine(reply) else reply))
        finally:
            writer.close()


def encoded(reply: Any) -> bytes:
    """RESP2."""
    match reply:
        case None:
            return b"*-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case str():
            return b"$%d\r\n%s\r\n" % (len(reply.encode()), reply.encode())
        case Exception():
            return b"-%s\r\n" % str(reply).encode()
    return b"*%d\r\n%s" % (len(reply), b"".join(map(encoded, reply)))


def topology_of(kind: str, *servers: Served, timeout: float = PATIENCE) -> Topology:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return make_topology(parse_address(f"redis+{kind}://{hosts}"), timeout=timeout, client_name="test")


def cluster_of(*slots: tuple[int, int, str, int]) -> Callable[[tuple[str, ...]], Any]:
    """What CLUSTER SLOTS answers."""
    return lambda command: [[first, last, [host, port, "id"]] for first, last, host, port in slots]


SLOT = key_slot(b"greenroom:{p1}")


async def test_a_key_s_master_is_the_one_of_its_slot() -> None:
    async with Served(cluster_of((0, SLOT - 1, "a", 1), (SLOT, SLOT, "b", 2), (SLOT + 2, 16383, "a", 1))) as server:
        topology = topology_of("cluster", server)
        assert topology.master_of("greenroom:{p1}") is None, "before it was asked"
        await topology.refresh()
        assert topology.master_of("greenroom:{p1}") == ("b", 2)
        assert topology.masters() == [("a", 1), ("b", 2)]
        places = {topology.master_of(f"greenroom:{{p{number}}}") for number in range(PARTITIONS)}
        assert places == {("a", 1), ("b", 2)}
        server.answer = cluster_of((0, 16383, "c", 3))
        await topology.refresh()
        assert topology.master_of("greenroom:{p1}") == ("b", 2), "there is no reason to ask again"
        topology.doubt()
        await topology.refresh()
        assert topology.master_of("greenroom:{p1}") == ("c", 3)


async def test_a_slot_that_nobody_serves_has_no_master() -> None:
    async with Served(cluster_of((0, SLOT - 1, "a", 1))) as server:
        topology = topology_of("cluster", server)
        await topology.refresh()
        assert topology.master_of("greenroom:{p1}") is None


async def test_a_server_that_does_not_know_its_own_address_is_where_it_was_asked() -> None:
    async with Served(cluster_of((0, 16383, "", 7))) as server:
        topology = topology_of("cluster", server)
        await topology.refresh()
        assert topology.masters() == [("127.0.0.1", 7)]


async def test_the_first_server_that_answers_counts() -> None:
    async with Served(lambda _: ResponseError("LOADING")) as first, Served(cluster_of((0, 16383, "a", 1))) as second:
        topology = topology_of("cluster", first, second)
        await topology.refresh()
        assert topology.masters() == [("a", 1)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (cluster_of(), "has no slots"),
        (lambda _: ResponseError("ERR This instance has cluster support disabled"), "support disabled"),
    ],
    ids=["no slots", "no cluster"],
)  # fmt: skip
async def test_a_cluster_that_is_none_says_why(answer: Callable[[tuple[str, ...]], Any], words: str) -> None:
    async with Served(answer) as server:
        with pytest.raises(NotSentError) as caught:
            await topology_of("cluster", server).refresh()
        assert words in caught.value.detail


async def test_all_who_ask_at_once_share_one_answer_and_who_gives_up_ends_it_for_nobody() -> None:
    async with Served(cluster_of((0, 16383, "a", 1))) as server:
        topology = topology_of("cluster", server)
        tasks = [asyncio.create_task(topology.refresh(force=True)) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks[1:])
        assert len(server.asked) == 1


async def test_a_question_that_is_under_way_ends_with_the_engine() -> None:
    silent = asyncio.Event()
    async with Served(lambda _: silent.wait()) as server:
        topology = topology_of("cluster", server)
        asking = asyncio.create_task(topology.refresh())
        await until(lambda: server.asked)
        await topology.stop()
        with pytest.raises(asyncio.CancelledError):
            await asking


def sentinel(*place: str) -> Callable[[tuple[str, ...]], Any]:
    """Names this master, or none."""
    return lambda command: list(place) or None


@pytest.mark.parametrize("others", ["hang", "know nothing", "fail"])
async def test_the_first_sentinel_that_knows_the_master_counts(others: str) -> None:
    silent = asyncio.Event()
    other: Callable[[tuple[str, ...]], Any] = {
        "hang": lambda _: silent.wait(),
        "know nothing": sentinel(),
        "fail": lambda _: ResponseError("ERR"),
    }[others]
    async with Served(lambda _: ["master", 0, []]) as master, Served(other) as first, Served(sentinel()) as second:
        second.answer = sentinel("127.0.0.1", str(master.port))
        topology = topology_of("sentinel", first, second)
        assert topology.masters() == (topology.master_of("any"),)
        connection = await topology.connect(ANY)
        await connection.disconnect()
        assert second.asked == [("SENTINEL", "get-master-addr-by-name", "mymaster")]
        assert master.asked == [("ROLE",)]


async def test_one_that_is_no_master_any_more_is_not_taken_for_it() -> None:
    async with Served(lambda _: ["slave", "h", 1]) as replica, Served(sentinel()) as asked:
        asked.answer = sentinel("127.0.0.1", str(replica.port))
        with pytest.raises(NotSentError) as caught:
            await topology_of("sentinel", asked).refresh()
        assert "is a slave, not the master" in caught.value.detail


async def test_a_master_that_no_sentinel_knows_is_named() -> None:
    async with Served(sentinel()) as first, Served(sentinel()) as second:
        with pytest.raises(NotSentError) as caught:
            await topology_of("sentinel", first, second).refresh()
        assert "no sentinel knows the master 'mymaster': unknown master" in caught.value.detail


async def test_a_single_server_is_the_master_of_everything() -> None:
    async with Served(lambda _: "PONG") as server:
        topology = make_topology(parse_address(f"redis://127.0.0.1:{server.port}"), timeout=PATIENCE, client_name="t")
        assert topology.masters() == (("127.0.0.1", server.port),)
        assert topology.master_of("any") == topology.master_of("other") == ("127.0.0.1", server.port)
        await topology.refresh()
    with pytest.raises(NotSentError):
        await topology.refresh(force=True)
