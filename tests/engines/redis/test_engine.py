"""The engine as a whole: starting, stopping, and to whom a message of the store goes."""

from __future__ import annotations

import pytest

from greenroom.engines.redis import RedisEngine
from greenroom.engines.redis.outbox import EVENTS
from greenroom.errors import IllegalArgumentError, RoomLimitError, ServiceUnavailableError
from greenroom.model import ApplicationSettings, RoomSettings
from greenroom.testing.engine_world import APP
from tests.engines.redis.worlds import LuaWorld
from tests.support.lua_redis import LuaServer, LuaStore


async def test_an_engine_that_cannot_be_reached_is_not_started_and_says_where_it_looked() -> None:
    server = LuaServer(lambda: 0)
    server.up = False
    engine = RedisEngine("redis://greenroom:hunter2@redis.example:7000", store=LuaStore(server))
    with pytest.raises(ServiceUnavailableError, match=r"redis\.example:7000") as caught:
        await engine.start()
    assert "hunter2" not in str(caught.value)
    await engine.stop()
    server.up = True
    await engine.start()
    await engine.stop()


async def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(IllegalArgumentError):
        RedisEngine("http://redis.example")


async def test_it_stops_before_it_was_started_and_twice() -> None:
    engine = RedisEngine("redis://127.0.0.1:1")
    await engine.stop()
    await engine.stop()


async def test_its_health_is_that_of_every_partition() -> None:
    async with LuaWorld() as w:
        await w.engine.healthy()
        w.server.takes_writes = False
        with pytest.raises(ServiceUnavailableError):
            await w.engine.healthy()


async def test_a_message_of_the_store_goes_where_it_belongs() -> None:
    async with LuaWorld() as w:
        engine = w.engine
        assert isinstance(engine, RedisEngine)
        engine.received("p1", EVENTS, APP.encode())
        assert w.ready[-1] == APP
        engine.received("nodes", "k", b"not JSON")
        engine.received("nodes", "unknown", b"{}")
        assert (w.listener.commands, w.listener.changes) == ([], [])


async def test_rooms_of_an_application_that_was_just_saved_have_its_limits() -> None:
    async with LuaWorld() as w:
        settings = ApplicationSettings(rooms=RoomSettings(max_rooms=1))
        await w.engine.directory.save_application(w.application(settings=settings))
        a, b = await w.client("anna"), await w.client("bob")
        await a.join("lobby")
        engine = w.engine
        assert isinstance(engine, RedisEngine)
        limits = engine._room_limits(APP)
        assert limits is not None
        assert limits.rooms == 1
        assert engine._room_limits("app-2") is None
        with pytest.raises(RoomLimitError):
            await b.join("hall", limits=limits)
