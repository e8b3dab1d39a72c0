"""Changes and commands over the bus: those that are lost, and those that nobody can read (S13)."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.core.commands import DirectoryCommand, DrainCommand, EndedCommand
from greenroom.engines.redis import bus
from greenroom.engines.redis.store import FunctionCall
from greenroom.model import partition_of, partition_of_room
from greenroom.testing.engine_contract import APP
from tests.engines.redis.worlds import LuaWorld
from tests.support.patience import until
from tests.support.redis_world import RedisWorld


async def _first_beat(w: RedisWorld) -> None:
    """This is where the partition is now; what was lost since the watch began is not known, so it is read again."""
    await w.join(w.node, w.lease)
    assert len(w.listener.losses) == 1
    w.listener.losses.clear()


async def test_s13_a_change_that_is_lost_between_two_that_are_received_is_noticed() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        partition = partition_of(APP, a.participant_id)
        await w.engine.bus.watch(APP, [a.participant_id])
        await _first_beat(w)
        await a.update(name="received")
        await w.wait_for_delivery()
        assert w.listener.losses == []
        w.server.is_lost = lambda channel: channel.endswith(":c")
        await a.update(name="lost")
        w.server.is_lost = lambda channel: False
        await a.update(name="received too")
        await w.wait_for_delivery()
        assert [change.participant.name for change in w.listener.changes] == ["received", "received too"]
        assert w.listener.losses == [[partition]]


async def test_s13_a_change_of_somebody_who_is_not_watched_counts_and_is_not_read() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        partition = partition_of(APP, a.participant_id)
        await w.engine.bus.watch(APP, [a.participant_id])
        await _first_beat(w)
        names = (f"other-{number}" for number in range(1000))
        other = next(n for n in names if partition_of(APP, w.open_request(n).participant_id) == partition)
        await w.client(other)
        await a.update(name="after it")
        await w.wait_for_delivery()
        assert [change.participant.id for change in w.listener.changes] == [a.participant_id]
        assert [number for _, number in w.listener.counts] == [w.listener.changes[0].id - 1]
        assert w.listener.losses == []


async def test_s13_a_partition_that_lost_its_past_is_read_again_with_its_first_message() -> None:
    """Also where it has caught up by the next beat: the newest change then has the number that was received before."""
    async with LuaWorld() as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        await _first_beat(w)
        before = w.server.snapshot()
        await a.update(name="lost with the master")
        await w.wait_for_delivery()
        w.server.go_back(before)
        await a.update(name="after the failover")
        await w.wait_for_delivery()
        assert len(w.listener.losses) == 1


async def test_s13_a_silent_subscription_is_noticed_by_the_next_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "SILENT_AFTER", 0.01)
    async with LuaWorld() as w:
        a = await w.client()
        partition = partition_of(APP, a.participant_id)
        await w.engine.bus.watch(APP, [a.participant_id])
        await _first_beat(w)
        w.server.is_lost = lambda channel: channel.endswith(":c")
        await a.update(name="missed")
        w.server.is_lost = lambda channel: False
        assert w.listener.changes == []
        await w.join(w.node, w.lease)
        await until(lambda: w.listener.losses)
        assert list(w.listener.losses) == [[partition]]
        await w.join(w.node, w.lease)
        await asyncio.sleep(0.03)
        assert len(w.listener.losses) == 1, "received, or reported once"


async def test_s13_a_renewal_that_fails_is_tried_again_with_the_next_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no connection broke, so that nothing else would say that something was missed."""
    monkeypatch.setattr(bus, "SILENT_AFTER", 0.01)
    async with LuaWorld() as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        await _first_beat(w)
        w.server.is_lost = lambda channel: channel.endswith(":c")
        await a.update(name="missed")
        w.server.is_lost = lambda channel: False
        await w.join(w.node, w.lease)
        w.server.up = False
        await asyncio.sleep(0.03)
        w.server.up = True
        assert not w.listener.losses
        await w.join(w.node, w.lease)
        await until(lambda: w.listener.losses)


async def test_s13_what_was_received_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "SILENT_AFTER", 0.01)
    async with LuaWorld() as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        await _first_beat(w)
        for n in range(5):
            await a.update(name=f"name-{n}")
            await w.join(w.node, w.lease)
        await asyncio.sleep(0.05)
        assert w.listener.losses == []
        assert len(w.listener.changes) == 5


async def test_s13_a_beat_asks_nothing_more_of_a_partition_that_is_away() -> None:
    """Each question may take as long as a call waits, and a beat has to be over in time."""
    async with LuaWorld() as w:
        rooms = ["one", "two"]
        away, other = (f"p{partition_of_room(APP, room)}" for room in rooms)
        assert away != other
        await w.engine.bus.watch_rooms(APP, rooms)
        asked: list[tuple[str, str]] = []

        def fate(call: FunctionCall) -> str | None:
            asked.append((call.tag, call.function))
            return "away" if call.tag == away else None

        w.server.fate = fate
        await w.join(w.node, w.lease)
        assert [function for tag, function in asked if tag == away] == ["renew"]
        assert [function for tag, function in asked if tag == other] == ["renew", "room_versions"]


async def test_a_message_that_nobody_can_read_harms_nobody() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        tag = f"p{partition_of(APP, a.participant_id)}"
        for data in (b"", b"{}", b"\xff", b'{"id": "x"}'):
            await w.node_store.publish(tag, "c", data)
        await a.update(name="received")
        await w.wait_for_delivery()
        assert [record.name for record in w.listener.records(a.participant_id)] == ["received"]


async def test_commands_reach_their_node_and_star_reaches_all() -> None:
    async with LuaWorld() as w:
        other = await w.another_node()
        await w.engine.bus.send("node-2", DrainCommand())
        await w.wait_for_delivery()
        assert w.listener.commands == []
        await w.engine.bus.send(w.node, EndedCommand(session_id="p1-x", reason="kicked"))
        await other.bus.send("*", DirectoryCommand())
        await w.wait_for_delivery()
        assert [type(command) for command in w.listener.commands] == [EndedCommand, DirectoryCommand]
        await other.stop()
