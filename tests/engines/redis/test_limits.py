"""What is bounded: events of an application (S17), Redis' memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.base import EventLimits
from greenroom.engines.redis import trimming
from greenroom.engines.redis.trimming import trim
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.engine_contract import APP
from tests.engines.redis.worlds import LuaWorld
from tests.support.redis_server import RedisServer, single
from tests.support.redis_world import RedisWorld


def limited(**limits: int) -> tuple[LuaWorld, EventLimits]:
    """A world that keeps few events."""
    world = LuaWorld()
    world.event_limits = EventLimits(**limits)
    return world, world.event_limits


async def test_s17_the_oldest_events_of_an_application_go_and_the_reader_hears_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trimming, "AT_ONCE", 2)
    world, limits = limited(count=60)
    async with world as w:
        await w.open("first")
        page = await w.engine.outbox.read(APP, None, 1)
        for n in range(60):
            await w.open(f"user-{n}")
        await w.open("user", app="other")
        dropped = await trim(w.node_store, limits)
        kept = await w.events()
        assert len(kept) <= 60
        assert len(kept) + dropped == 122
        assert await trim(w.node_store, limits) == 0
        assert len(await w.events("other")) == 2, "one tenant's events never cost another's"
        after = await w.engine.outbox.read(APP, page.cursor, 500)
        assert after.gap + len(after.items) == 121


async def test_s17_bytes_count_too() -> None:
    world, limits = limited(size=10_000)
    async with world as w:
        for n in range(40):
            await w.open(f"user-{n}", name="n" * 200)
        assert await trim(w.node_store, limits) > 0
        kept = await w.events()
        assert sum(len(repr(event)) for event in kept) < 40_000


async def test_two_nodes_that_trim_at_once_drop_no_more_than_one() -> None:
    world, limits = limited(count=60)
    async with world as w:
        for n in range(60):
            await w.open(f"user-{n}")
        await asyncio.gather(trim(w.node_store, limits), trim(w.node_store, limits))
        assert len(await w.events()) >= 60 - 64 // 2


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@pytest.mark.slow
async def test_when_redis_is_full_opens_are_refused_retryably_and_ends_still_go_through(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a, b = await w.client("alice"), await w.client("bob")
        server.execute("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(ServiceUnavailableError) as caught:
            await w.open("carol")
        assert caught.value.code is ErrorCode.STORAGE_FULL
        assert caught.value.retryable
        with pytest.raises(ServiceUnavailableError):
            await w.engine.healthy()
        await a.close()
        await b.detach(2)
        assert [session.id for session in (await w.advance(4)).ended] == [b.id]
        server.execute("CONFIG", "SET", "maxmemory", "0")
        await w.open("carol")
