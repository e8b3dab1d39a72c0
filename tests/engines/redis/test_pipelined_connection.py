"""One connection for all callers: replies, cancellation, time, what is lost on the way."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import MovedError, ResponseError

from greenroom.codes import ErrorCode
from greenroom.engines.redis.errors import NotSentError, RefusedError
from greenroom.engines.redis.pipelined_connection import (
    MissingFunctionError,
    PipelinedConnection,
    RedirectError,
    _failure,
)
from greenroom.errors import ServiceUnavailableError
from tests.support.patience import PATIENCE
from tests.support.redis_server import RedisServer, single


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@asynccontextmanager
async def connection_to(
    server: RedisServer, *, timeout: float = 30.0, wait_replicas: int = 0
) -> AsyncIterator[PipelinedConnection]:
    async def connect() -> AbstractConnection:
        connection = Connection(host="127.0.0.1", port=server.port, protocol=2, socket_timeout=None)
        await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    link = PipelinedConnection(connect, timeout=timeout, wait_replicas=wait_replicas, wait_timeout=0.05)
    try:
        yield link
    finally:
        await link.close()


async def echo(link: PipelinedConnection, text: str) -> bytes:
    reply: bytes = await link.submit(("ECHO", text))
    return reply


async def test_calls_of_one_turn_go_out_together_and_come_back_in_order(server: RedisServer) -> None:
    async with connection_to(server) as link:
        replies = await asyncio.gather(*(echo(link, f"text-{n}") for n in range(1000)))
        assert replies == [f"text-{n}".encode() for n in range(1000)]


@pytest.mark.parametrize("steps", range(25))
async def test_a_cancelled_call_never_hands_its_reply_to_another(server: RedisServer, steps: int) -> None:
    """Cancelled after this many turns of the loop: before it is sent, under way, answered."""
    seed = steps
    print("seed", seed)
    chance = random.Random(seed)
    async with connection_to(server) as link:
        tasks = {f"call-{n}": asyncio.create_task(echo(link, f"call-{n}")) for n in range(40)}
        for _ in range(steps):
            await asyncio.sleep(0)
        given_up = chance.sample(sorted(tasks), 15)
        for name in given_up:
            tasks[name].cancel()
        later = await asyncio.gather(*(echo(link, f"later-{n}") for n in range(20)))
        assert later == [f"later-{n}".encode() for n in range(20)]
        replies = await asyncio.gather(*tasks.values(), return_exceptions=True)
        for name, reply in zip(tasks, replies, strict=True):
            assert reply == name.encode() or (name in given_up and isinstance(reply, asyncio.CancelledError))


async def test_a_call_given_up_before_it_is_sent_is_not_sent(server: RedisServer) -> None:
    async with connection_to(server) as link:
        server.execute("DEL", "given-up")
        future = link.submit(("INCR", "given-up"))
        future.cancel()
        await echo(link, "x")
        assert server.execute("GET", "given-up") is None


async def test_an_error_reply_fails_its_own_call_only(server: RedisServer) -> None:
    async with connection_to(server) as link:
        good, bad, also_good = link.submit(("ECHO", "a")), link.submit(("LPUSH", "x")), link.submit(("ECHO", "b"))
        with pytest.raises(RefusedError):
            await bad
        assert (await good, await also_good) == (b"a", b"b")


@pytest.mark.slow
async def test_a_paused_server_costs_the_timeout_and_no_more(server: RedisServer) -> None:
    async with connection_to(server, timeout=0.5) as link:
        await answers(link)
        server.pause()
        started = time.monotonic()
        try:
            with pytest.raises(ServiceUnavailableError) as caught:
                await echo(link, "y")
            assert caught.value.code is ErrorCode.OUTCOME_UNKNOWN
            assert caught.value.retryable
            with pytest.raises(ServiceUnavailableError) as caught:
                await echo(link, "z")  # reconnects: nothing was sent
            assert isinstance(caught.value, NotSentError)
            assert time.monotonic() - started < PATIENCE / 2
        finally:
            server.resume()
        await answers(link)


async def answers(link: PipelinedConnection) -> None:
    """Returns when it does; not at once where the machine stood still for longer than the timeout."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(ServiceUnavailableError):
                assert await echo(link, "x") == b"x"
                return


async def test_a_killed_connection_fails_what_is_under_way_and_the_next_call_connects_again(
    server: RedisServer,
) -> None:
    async with connection_to(server) as link:
        await echo(link, "x")
        blocked = link.submit(("BLPOP", "nothing-there", 1))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(server.execute, "CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(ServiceUnavailableError) as caught:
            await blocked
        assert caught.value.code is ErrorCode.OUTCOME_UNKNOWN
        assert await echo(link, "again") == b"again"


async def test_no_server_is_a_retryable_error_and_nothing_was_sent() -> None:
    async def connect() -> AbstractConnection:
        raise ConnectionRefusedError("nobody there")

    link = PipelinedConnection(connect)
    for _ in range(3):
        with pytest.raises(ServiceUnavailableError) as caught:
            await link.submit(("PING",))
        assert isinstance(caught.value, NotSentError)
        assert "nobody there" in caught.value.detail
        assert "nobody there" not in str(caught.value), "nothing internal is sent to clients"
    await link.close()


async def test_s16_a_durable_write_without_its_replicas_has_an_open_outcome(server: RedisServer) -> None:
    async with connection_to(server, wait_replicas=1) as link:
        durable = link.submit(("SET", "durable", "1"), durable=True)
        other = link.submit(("ECHO", "x"))
        refused = link.submit(("LPUSH", "y"), durable=True)
        with pytest.raises(ServiceUnavailableError) as caught:
            await durable
        assert caught.value.code is ErrorCode.OUTCOME_UNKNOWN
        assert await other == b"x"
        with pytest.raises(RefusedError):
            await refused


async def test_after_the_end_calls_fail_at_once(server: RedisServer) -> None:
    async with connection_to(server) as link:
        await echo(link, "x")
    with pytest.raises(ServiceUnavailableError):
        await link.submit(("PING",))


def test_what_redis_says_becomes_what_to_do() -> None:
    assert isinstance(_failure(ResponseError("Function not found")), MissingFunctionError)
    assert isinstance(_failure(MovedError("3999 127.0.0.1:6381")), RedirectError)
    assert isinstance(_failure(ResponseError("TRYAGAIN Multiple keys request during rehashing")), RedirectError)
    full = _failure(ResponseError("OOM command not allowed when used memory > 'maxmemory'."))
    assert isinstance(full, ServiceUnavailableError)
    assert full.code is ErrorCode.STORAGE_FULL
    other = _failure(ResponseError("NOREPLICAS Not enough good replicas to write."))
    assert isinstance(other, ServiceUnavailableError)
    assert other.code is ErrorCode.SERVICE_UNAVAILABLE
