"""Events of all partitions as one list: pages, cursors, hints, and what replicas have (S16)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.redis import RedisEngine, outbox
from greenroom.engines.redis.arguments import argument
from greenroom.engines.redis.store import FunctionCall
from greenroom.errors import ServiceUnavailableError
from greenroom.model import partition_of
from greenroom.testing.engine_contract import APP
from tests.engines.redis.worlds import LuaWorld
from tests.support.patience import until
from tests.support.redis_server import RedisServer, single
from tests.support.redis_world import RedisWorld
from tests.support.sim.loop import Timeline


def test_hints_of_events_are_received_only_while_events_are_read() -> None:
    timeline = Timeline()
    try:
        timeline.call(timeline.make_loop("test"), _hints())
    finally:
        timeline.close()


async def _hints() -> None:
    async with LuaWorld() as w:
        engine = await w.another_node()
        hints: list[str] = []
        engine.outbox.subscribe(hints.append)

        def listens() -> bool:
            return any(channel == outbox.EVENTS for _, channel in engine.store.subscriptions())

        await w.open("alice")
        await asyncio.sleep(0)
        assert not listens()
        cursor = await engine.outbox.newest(APP)
        await until(listens)
        await w.open("bob")
        await until(lambda: hints)
        assert set(hints) == {APP}
        await until(lambda: not listens())
        await engine.outbox.read(APP, cursor)
        await until(listens)
        await engine.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single("--appendonly", "yes", "--appendfsync", "always") as running:
        yield running


async def test_s16_no_event_is_given_out_that_no_replica_has(server: RedisServer) -> None:
    """A master without replicas: who asks for one is given nothing, who asks for none is given all."""
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        await w.client()
        page = await w.engine.outbox.read(APP, None)
        assert [event.type for event in page.items] == ["session.opened", "participant.online"]
        careful = RedisEngine(f"{server.url}?wait_replicas=1")
        await careful.start()
        try:
            for read in (careful.outbox.read(APP, None), careful.outbox.newest(APP)):
                with pytest.raises(ServiceUnavailableError) as raised:
                    await read
                assert raised.value.code is ErrorCode.OUTCOME_UNKNOWN
            assert not (await careful.outbox.read(APP, page.cursor)).items, "where nothing is new nobody is asked"
        finally:
            await careful.stop()


async def test_s16_an_event_whose_number_is_anothers_by_now_is_not_given_out() -> None:
    async with LuaWorld() as w:
        engine = w.engine
        assert isinstance(engine, RedisEngine)
        a = await w.client()
        (first, *_) = (await w.engine.outbox.read(APP, None)).items
        tag = f"p{partition_of(APP, a.participant_id)}"

        async def confirmed(position: int, event_id: str | None) -> bool:
            body = argument(app=APP, position=position, id=event_id)
            reply = await engine.store.call(FunctionCall("confirm", tag, body, True))
            return bool(reply[0] == b"ok")

        assert await confirmed(1, first.id)
        assert await confirmed(2, None)
        assert not await confirmed(1, first.id[:-1])
        assert not await confirmed(2, first.id)
        assert not await confirmed(9, first.id)
