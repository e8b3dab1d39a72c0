"""A connection on the epoll of our own does what one of the event loop does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from greenroom.server.wire.plain_transport import AT_ONCE, ENDED_AT_ONCE, PlainTransport, Poller
from tests.support.patience import PATIENCE, until

BOTH_LOOPS = pytest.mark.parametrize(
    "loop_name", [pytest.param("uvloop", marks=pytest.mark.uvloop), "asyncio"], ids=["uvloop", "asyncio"]
)
MANY_BYTES = bytes(range(256)) * 20_000
"""More than the kernel takes for a client that does not read."""


class Protocol:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(2_048))
        self.seen: list[str] = []
        self.data = b""
        self.lost: list[Exception | None] = []
        self.on_data: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.Transport) -> None:
        raise AssertionError("who starts it does that")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]
        self.on_data()

    def eof_received(self) -> bool:
        self.seen.append("eof")
        return False

    def pause_writing(self) -> None:
        self.seen.append("paused")

    def resume_writing(self) -> None:
        self.seen.append("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Pair:
    """A client's socket, and what serves it."""

    def __init__(self, poller: Poller) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            served, _ = listener.accept()
        served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.client.setblocking(False)
        self.protocol = Protocol()
        self.transport = cast(PlainTransport, poller.start(served, self.protocol))

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def read(self, count: int = 0) -> bytes:
        """So many bytes; 0: all until the end."""
        found = b""
        async with asyncio.timeout(PATIENCE):
            while not count or len(found) < count:
                some = await asyncio.get_running_loop().sock_recv(self.client, 65_536)
                if not some:
                    break
                found += some
        return found

    def reset(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()


@contextlib.asynccontextmanager
async def pairs(count: int = 1) -> AsyncIterator[list[Pair]]:
    poller = Poller()
    made = [Pair(poller) for _ in range(count)]
    try:
        yield made
    finally:
        for pair in made:
            pair.client.close()
            pair.transport.abort()
        poller.close()
        await until(lambda: all(pair.protocol.lost for pair in made))


@BOTH_LOOPS
async def test_bytes_go_both_ways(loop_name: str) -> None:
    async with pairs(2) as (one, other):
        await one.send(b"hello")
        await until(lambda: one.protocol.data == b"hello")
        one.transport.write(b"he")
        one.transport.writelines([b"l", bytearray(b"l"), memoryview(b"o")])
        assert await one.read(5) == b"hello"
        assert not other.protocol.data
        assert one.transport.get_extra_info("peername") == one.client.getsockname()
        assert one.transport.get_extra_info("sockname") == one.client.getpeername()
        assert one.transport.get_extra_info("sslcontext", "none") == "none"
        assert not one.transport.is_closing()


@BOTH_LOOPS
async def test_who_reads_slowly_gets_everything_in_order(loop_name: str) -> None:
    async with pairs() as (pair,):
        pair.transport.set_write_buffer_limits(32_768, 8_192)
        assert pair.transport.get_write_buffer_limits() == (8_192, 32_768)
        pair.transport.write(MANY_BYTES)
        assert pair.protocol.seen == ["paused"]
        assert pair.transport.get_write_buffer_size() > 32_768
        pair.transport.write(b"the end")
        assert await pair.read(len(MANY_BYTES) + 7) == MANY_BYTES + b"the end"
        await until(lambda: pair.protocol.seen == ["paused", "resumed"])
        assert pair.transport.get_write_buffer_size() == 0
        await pair.send(b"still here")
        await until(lambda: pair.protocol.data == b"still here")


@BOTH_LOOPS
async def test_lower_limits_pause_at_once(loop_name: str) -> None:
    async with pairs() as (pair,):
        pair.transport.set_write_buffer_limits(high=len(MANY_BYTES))
        pair.transport.write(MANY_BYTES)
        assert not pair.protocol.seen
        pair.transport.set_write_buffer_limits(high=1, low=0)
        assert pair.protocol.seen == ["paused"]
        await pair.read(len(MANY_BYTES))
        await until(lambda: pair.protocol.seen == ["paused", "resumed"])


@BOTH_LOOPS
async def test_what_was_written_is_sent_before_it_is_closed(loop_name: str) -> None:
    async with pairs() as (pair,):
        pair.transport.write(MANY_BYTES)
        pair.transport.close()
        pair.transport.close()
        pair.transport.write(b"too late")
        assert pair.transport.is_closing()
        assert await pair.read() == MANY_BYTES
        await until(lambda: pair.protocol.lost)
        assert pair.protocol.lost == [None]
        assert pair.transport.get_extra_info("socket") is None


@BOTH_LOOPS
async def test_after_its_end_it_still_reads(loop_name: str) -> None:
    async with pairs() as (pair,):
        pair.transport.write(MANY_BYTES)
        assert pair.transport.can_write_eof()
        pair.transport.write_eof()
        pair.transport.write_eof()
        pair.transport.write(b"too late")
        assert await pair.read() == MANY_BYTES
        await pair.send(b"goodbye")
        await until(lambda: pair.protocol.data == b"goodbye")
        assert not pair.protocol.lost
        pair.client.close()
        await until(lambda: pair.protocol.lost)
        assert pair.protocol.seen[-1] == "eof"
        assert pair.protocol.lost == [None]


@BOTH_LOOPS
async def test_a_client_that_ends_still_gets_what_was_written(loop_name: str) -> None:
    async with pairs() as (pair,):
        pair.transport.write(MANY_BYTES)
        pair.client.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in pair.protocol.seen)
        assert not pair.protocol.lost
        assert await pair.read() == MANY_BYTES
        await until(lambda: pair.protocol.lost == [None])


@BOTH_LOOPS
@pytest.mark.parametrize("doing", ["reading", "writing", "paused", "closing"])
async def test_a_client_that_resets_is_lost_once(loop_name: str, doing: str) -> None:
    async with pairs() as (pair,):
        if doing == "paused":
            pair.transport.pause_reading()
            assert not pair.transport.is_reading()
        elif doing != "reading":
            pair.transport.write(MANY_BYTES)
        if doing == "closing":
            pair.transport.close()
        pair.reset()
        await until(lambda: pair.protocol.lost)
        assert isinstance(pair.protocol.lost[0], ConnectionError)
        pair.transport.write(b"to nobody")
        pair.transport.write_eof()
        pair.transport.close()
        pair.transport.abort()
        await asyncio.sleep(0.01)
        assert len(pair.protocol.lost) == 1


@BOTH_LOOPS
async def test_nothing_is_read_while_it_is_paused(loop_name: str) -> None:
    async with pairs() as (pair,):
        pair.transport.pause_reading()
        await pair.send(b"wait")
        await asyncio.sleep(0.02)
        assert not pair.protocol.data
        pair.transport.resume_reading()
        assert pair.transport.is_reading()
        await until(lambda: pair.protocol.data == b"wait")


@BOTH_LOOPS
async def test_an_abort_throws_away_what_is_not_sent(loop_name: str) -> None:
    async with pairs() as (pair,):
        pair.transport.write(MANY_BYTES)
        pair.transport.abort()
        assert not pair.protocol.lost, "not in the middle of what the protocol does"
        await until(lambda: pair.protocol.lost)
        assert pair.protocol.lost == [None]
        with contextlib.suppress(ConnectionError):
            assert len(await pair.read()) < len(MANY_BYTES)


@BOTH_LOOPS
async def test_a_protocol_that_raises_loses_its_own_connection(loop_name: str) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    def fail() -> None:
        raise RuntimeError("a mistake")

    async with pairs(2) as (bad, good):
        bad.protocol.on_data = fail
        await bad.send(b"x")
        await good.send(b"y")
        await until(lambda: good.protocol.data and bad.protocol.lost)
        assert str(bad.protocol.lost[0]) == "a mistake"
        assert [str(one["exception"]) for one in reported] == ["a mistake"]
        assert not good.protocol.lost


@BOTH_LOOPS
async def test_who_sends_without_end_is_read_once_in_a_turn(loop_name: str) -> None:
    async with pairs(2) as (flood, other):
        read_before = []
        other.protocol.on_data = lambda: read_before.append(len(flood.protocol.data))
        count = flood.client.send(bytes(16 * 2_048))
        other.client.send(b"x")
        await until(lambda: len(flood.protocol.data) == count)
        assert count > 4 * 2_048
        assert read_before[0] <= 2 * 2_048


@BOTH_LOOPS
async def test_more_than_are_looked_at_in_a_turn_are_all_served(loop_name: str) -> None:
    async with pairs(AT_ONCE + 64) as many:
        for pair in many:
            pair.client.send(b"x")
        await until(lambda: all(pair.protocol.data for pair in many))


@BOTH_LOOPS
async def test_a_herd_that_is_gone_does_not_keep_others_waiting(loop_name: str) -> None:
    async with pairs(2 * ENDED_AT_ONCE + 1) as (*gone, other):
        ended: list[int] = []
        other.protocol.on_data = lambda: ended.append(sum(bool(pair.protocol.lost) for pair in gone))
        for pair in gone:
            pair.client.close()
        other.client.send(b"x")
        await until(lambda: all(pair.protocol.lost for pair in gone))
        assert ended
        assert ended[0] <= ENDED_AT_ONCE


@BOTH_LOOPS
async def test_a_protocol_hands_over_in_the_middle_of_its_data(loop_name: str) -> None:
    async with pairs() as (pair,):
        heir = Protocol()
        pair.protocol.on_data = lambda: pair.transport.set_protocol(heir)
        await pair.send(b"first")
        await until(lambda: pair.protocol.data)
        assert pair.transport.get_protocol() is heir
        await pair.send(b"second")
        await until(lambda: heir.data == b"second")
        pair.client.close()
        await until(lambda: heir.lost)
        assert not pair.protocol.lost
        pair.protocol.lost.append(None)


@BOTH_LOOPS
async def test_connections_outlive_what_accepted_them(loop_name: str) -> None:
    poller = Poller()
    pair = Pair(poller)
    poller.close()
    await pair.send(b"x")
    await until(lambda: pair.protocol.data)
    pair.client.close()
    await until(lambda: pair.protocol.lost)
    assert poller._epoll.closed
