"""Events of all partitions as one list: pages, cursors, hints, and what replicas have (S16)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.base import EventPage
from greenroom.engines.cursors import encode_cursor
from greenroom.engines.redis import RedisEngine, outbox
from greenroom.engines.redis.arguments import argument
from greenroom.engines.redis.store import FunctionCall
from greenroom.errors import IllegalArgumentError, ServiceUnavailableError
from greenroom.model import PARTITIONS, Event, partition_of
from greenroom.testing.engine_contract import APP
from tests.engines.redis.worlds import LuaWorld
from tests.support.patience import until
from tests.support.redis_server import RedisServer, single
from tests.support.redis_world import RedisWorld
from tests.support.sim.loop import in_virtual_time


def test_hints_of_events_are_received_only_while_events_are_read() -> None:
    in_virtual_time(_hints())


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


# -- pages of all partitions ------------------------------------------------------------------------------------------


def event(number: int, at: int) -> Event:
    return Event(id=f"e{number}-{at}", type="session.opened", at=at, app=APP)


def part(*entries: tuple[int, int], first: int = 1, last: int | None = None, marker: str = "m") -> outbox._Part:
    """entries: number and instant."""
    events = [(number, event(number, at)) for number, at in entries]
    return outbox._Part(marker, first, events[-1][0] if last is None else last, events)


def instants(page: EventPage) -> list[int]:
    return [one.at for one in page.items]


def test_a_page_has_the_oldest_of_all_partitions_and_the_next_one_goes_on_behind_it() -> None:
    parts = [part((1, 10), (2, 40)), part((1, 20), (2, 30))]
    page, given = outbox._page(parts, [("m", 0), ("m", 0)], 3)
    assert (instants(page), page.gap, page.reset) == ([10, 20, 30], 0, False)
    assert given == {0: (1, "e1-10"), 1: (2, "e2-30")}


def test_a_clock_that_stepped_back_turns_the_order_of_no_partition_around() -> None:
    page, _ = outbox._page([part((1, 50), (2, 10)), part((1, 20), (2, 60))], [("m", 0), ("m", 0)], 10)
    assert instants(page) == [20, 50, 10, 60]


def test_numbers_without_an_event_are_the_gap() -> None:
    page, given = outbox._page([part((4, 10), (7, 20), first=4, last=9)], [("m", 1)], 10)
    assert (instants(page), page.gap) == ([10, 20], 6)
    assert given == {0: (9, None)}, "behind the last event nothing is left, and it was looked at"
    page, _ = outbox._page([part((4, 10), (7, 20), first=4, last=9)], None, 2)
    assert page.gap == 2, "where the page is full, what comes behind it is not looked at"


@pytest.mark.parametrize(("marker", "number"), [("other", 1), ("m", 3)])
def test_a_partition_that_lost_its_past_is_read_from_its_beginning_and_says_so(marker: str, number: int) -> None:
    page, _ = outbox._page([part((1, 10), (2, 20))], [(marker, number)], 10)
    assert (instants(page), page.reset) == ([10, 20], True)


def test_a_reader_that_has_read_nothing_of_a_partition_loses_nothing_with_it() -> None:
    page, _ = outbox._page([part((1, 10))], [("other", 0)], 10)
    assert (instants(page), page.reset) == ([10], False)


def test_a_cursor_holds_a_place_in_every_partition() -> None:
    positions = [(f"m{number % 3}", number) for number in range(PARTITIONS)]
    assert outbox._decode(outbox._encode(positions)) == positions


@pytest.mark.parametrize(
    "value",
    [
        (["m"], [(0, 1)] * (PARTITIONS - 1)),
        (["m"], [(1, 1)] * PARTITIONS),
        (["m"], [(-1, 1)] * PARTITIONS),
        (["m"], [(0, -1)] * PARTITIONS),
        ("m", []),
    ],
)
async def test_a_cursor_with_places_that_are_none_is_invalid(value: object) -> None:
    async with LuaWorld() as w:
        cursor = encode_cursor("e", value)
        for refused in (w.engine.outbox.read(APP, cursor), w.engine.outbox.acknowledge(APP, "hook", cursor)):
            with pytest.raises(IllegalArgumentError, match="Invalid cursor"):
                await refused


async def test_many_dead_letters_are_written_and_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_PIECE", 3)
    async with LuaWorld() as w:
        letters = [event(number, number) for number in range(10)]
        await w.engine.outbox.set_aside(APP, "hook", letters, "down")
        assert [one.id for one, _ in await w.engine.outbox.aside(APP, "hook")] == [one.id for one in letters]
        assert len(await w.engine.outbox.aside(APP, "hook", 7)) == 7
        assert await w.engine.outbox.drop_aside(APP, "hook", [one.id for one in letters[:5]]) == 5
        assert len(await w.engine.outbox.aside(APP, "hook")) == 5
