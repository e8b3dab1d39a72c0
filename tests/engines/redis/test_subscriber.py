"""Subscriptions on a real server: lost, renewed, confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from greenroom.engines.redis import subscriber
from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.subscriber import Pair, Subscriber
from greenroom.engines.redis.topology import make_topology
from greenroom.errors import ServiceUnavailableError
from greenroom.model import partition_of
from greenroom.testing.engine_contract import APP
from tests.support.patience import PATIENCE, until
from tests.support.redis_server import RedisServer, single, wait_for
from tests.support.redis_world import RedisWorld


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single("--appendonly", "yes", "--appendfsync", "always") as running:
        yield running


@pytest.mark.slow
async def test_s13_a_lost_subscription_is_renewed_and_reported(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        await asyncio.to_thread(server.execute, "CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: w.listener.losses)
        assert list(w.listener.losses[0]) == [partition_of(APP, a.participant_id)]
        await a.update(name="received again")
        await until(lambda: w.listener.records(a.participant_id))


@pytest.mark.slow
async def test_s13_a_server_that_was_away_is_subscribed_again(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client(name="kept")
        await w.engine.bus.watch(APP, [a.participant_id])
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(wait_for, server.answers, "redis")
        await until(lambda: w.listener.losses)
        assert (await a.record()).name == "kept"  # AOF always: everything is there
        await a.update(name="received again")
        await until(lambda: w.listener.records(a.participant_id))


# -- the subscriber itself --------------------------------------------------------------------------------------------


class Listening:
    """A subscriber to the server, and what it was given."""

    def __init__(self, server: RedisServer) -> None:
        self.topology = make_topology(parse_address(server.url), timeout=PATIENCE, client_name="test")
        self.subscriber = Subscriber(self.topology, lambda *parts: ":".join(("test", *parts)), timeout=PATIENCE)
        self.messages: list[tuple[str, str, bytes]] = []
        self.lost: list[Pair] = []
        self.subscriber.listen(lambda *message: self.messages.append(message), self.lost.extend)


@asynccontextmanager
async def listening(server: RedisServer) -> AsyncIterator[Listening]:
    one = Listening(server)
    await one.topology.refresh()
    try:
        yield one
    finally:
        await one.subscriber.stop()
        await one.topology.stop()


async def publish(server: RedisServer, channel: str, data: str) -> int:
    """How many received it."""
    return int(str(await asyncio.to_thread(server.execute, "SPUBLISH", channel, data)))


async def test_messages_of_wanted_channels_come_with_their_tag_from_when_it_is_confirmed(server: RedisServer) -> None:
    async with listening(server) as one:
        await asyncio.gather(*(one.subscriber.subscribe("p1", name) for name in ("a", "a", "b")))
        await one.subscriber.subscribe("p1", "a")
        assert sorted(one.subscriber.wanted()) == [("p1", "a"), ("p1", "b")]
        assert [await publish(server, f"test:p1:{name}", name) for name in ("a", "b", "c")] == [1, 1, 0]
        await until(lambda: len(one.messages) == 2)
        assert one.messages == [("p1", "a", b"a"), ("p1", "b", b"b")]
        assert one.lost == []


async def test_a_channel_that_is_not_wanted_any_more_is_left(server: RedisServer) -> None:
    async with listening(server) as one:
        for name in ("a", "b"):
            await one.subscriber.subscribe("p1", name)
        await one.subscriber.unsubscribe("p1", "a")
        await one.subscriber.unsubscribe("p1", "never")
        assert one.subscriber.wanted() == (("p1", "b"),)
        await until(lambda: server.execute("PUBSUB", "SHARDNUMSUB", "test:p1:a") == [b"test:p1:a", 0])
        assert await publish(server, "test:p1:a", "late") == 0
        await publish(server, "test:p1:b", "x")
        await until(lambda: ("p1", "b", b"x") in one.messages)
        await one.subscriber.subscribe("p1", "a")
        assert await publish(server, "test:p1:a", "again") == 1
        assert one.lost == [], "what was left by oneself is not lost"


async def test_what_is_renewed_counts_as_lost_and_goes_on(server: RedisServer) -> None:
    async with listening(server) as one:
        await one.subscriber.subscribe("p1", "a")
        await one.subscriber.renew([("p1", "a"), ("p1", "a")])
        await until(lambda: one.lost)
        assert one.lost == [("p1", "a")], "reported when what is read after it is complete"
        assert await publish(server, "test:p1:a", "x") == 1
        await until(lambda: one.messages)


async def test_a_subscription_that_is_not_confirmed_in_time_is_tried_on_all_the_same(server: RedisServer) -> None:
    async with listening(server) as one:
        await one.subscriber.subscribe("p1", "a")
        one.subscriber._timeout = 0.1
        server.pause()
        try:
            with pytest.raises(ServiceUnavailableError):
                await one.subscriber.subscribe("p1", "b")
        finally:
            one.subscriber._timeout = PATIENCE
            server.resume()
        await one.subscriber.subscribe("p1", "b")
        assert await publish(server, "test:p1:b", "x") == 1


async def test_who_waits_for_a_subscription_does_so_no_longer_when_it_stops(server: RedisServer) -> None:
    async with listening(server) as one:
        await one.subscriber.subscribe("p1", "a")
        server.pause()
        try:
            waiting = asyncio.create_task(one.subscriber.subscribe("p1", "b"))
            await until(lambda: ("p1", "b") in one.subscriber.wanted())
            await one.subscriber.stop()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        finally:
            server.resume()


async def test_a_server_that_says_nothing_any_more_is_given_up_and_counts_as_lost(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "PING_EVERY", 0.05)
    async with listening(server) as one:
        await one.subscriber.subscribe("p1", "a")
        server.pause()
        try:
            await until(lambda: one.subscriber._wanted[("p1", "a")] is not None)
            one.lost.clear()
        finally:
            server.resume()
        await until(lambda: one.lost)


async def test_s13_a_message_that_fails_its_listener_is_logged_and_counts_as_lost(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_tag: str, _channel: str, _data: bytes) -> None:
        raise LookupError("of the listener")

    caplog.set_level(logging.INFO, "greenroom.engine")
    async with listening(server) as one:
        await one.subscriber.subscribe("p1", "a")
        await one.subscriber.renew([("p1", "a")])
        await until(lambda: one.lost)
        assert caplog.records == [], "a connection that is lost is nothing to log"
        one.subscriber.listen(fail, one.lost.extend)
        await publish(server, "test:p1:a", "secret")
        await until(lambda: len(one.lost) == 2)
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text
