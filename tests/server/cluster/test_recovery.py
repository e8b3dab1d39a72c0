"""After a fault: sessions are acquired again, compared, read again and restored. No sockets, no sleeping."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.core.requests import EndRequest
from greenroom.core.rooms.requests import KickMember, LeaveRoom
from greenroom.core.states import ServerState
from greenroom.engines.base import ENDED_OF_PARTICIPANT, Change, Engine, NodeBeat, SessionQuery
from greenroom.engines.clock import ManualClock
from greenroom.engines.paging import read_participants
from greenroom.engines.redis import RedisEngine
from greenroom.model import EndReason, RegistryState, participant_id_of, partition_of
from greenroom.server.cluster import recovery
from greenroom.server.sessions.connection import SessionConnection
from tests.core.server.rig import APP, NAMESPACE
from tests.server.shell import Shell, is_in, running_shell
from tests.support.lua_redis import LuaServer, LuaStore


async def test_losing_the_engine_ends_no_session() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        shell.away = True
        await shell.advance(90)
        assert is_in(connection, ServerState.FENCED)
        assert len(link.notifications("session.moveOn")) == 1
        assert shell.node.not_ready() is not None
        shell.away = False
        await shell.advance(3)
        assert is_in(connection, ServerState.OPEN)
        assert len(link.notifications("session.stay")) == 1
        record = await shell.record(connection)
        assert (record.state, record.lease) == (RegistryState.ATTACHED, shell.node.lease)
        assert shell.node.not_ready() is None


async def test_a_lapsed_lease_is_never_renewed_and_sessions_are_taken_back_by_their_old_right() -> None:
    async with running_shell() as shell:
        connection, _ = await shell.open()
        old = shell.node.lease
        for _ in range(15):  # the node was paused; others reaped
            shell.clock.advance(1.0)
            await shell.inner.registry.reap()
        assert (await shell.record(connection)).state is RegistryState.DETACHED
        await shell.advance(2)
        assert shell.node.lease != old
        record = await shell.record(connection)
        assert (record.state, record.generation, record.lease) == (RegistryState.ATTACHED, 2, shell.node.lease)
        owner = connection.context.owner
        assert owner is not None
        assert (owner.generation, owner.lease) == (2, shell.node.lease)


async def test_a_session_that_ended_while_its_node_was_paused_is_notified() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        for _ in range(70):
            shell.clock.advance(1.0)
            await shell.inner.registry.reap()
        assert (await shell.record(connection)).end_reason is EndReason.TIMEOUT
        await shell.advance(2)
        assert link.notifications("session.ended")[0]["reason"] == "timeout"
        assert link.end is not None
        assert link.end[0] == 4005


async def test_a_connection_lost_while_fenced_is_detached_first_of_all() -> None:
    async with running_shell() as shell:
        connection, _ = await shell.open()
        closing, _ = await shell.open("bob")
        shell.away = True
        await shell.advance(12)
        connection.lost(1006, "")
        closing.lost(1000, "")
        await shell.settle()
        assert len(shell.writes.deferred) == 2
        shell.away = False
        await shell.advance(2)
        assert not shell.writes.deferred
        assert (await shell.record(connection)).state is RegistryState.DETACHED
        assert (await shell.record(closing)).end_reason is EndReason.CLOSED


async def test_a_close_that_was_kept_over_a_lapsed_lease_still_ends_the_session_as_closed() -> None:
    async with running_shell() as shell:
        connection, _ = await shell.open()
        shell.away = True
        await shell.advance(8)
        connection.lost(1000, "")
        await shell.settle()
        for _ in range(15):
            shell.clock.advance(1.0)
            await shell.inner.registry.reap()
        assert (await shell.record(connection)).state is RegistryState.DETACHED
        shell.away = False
        await shell.advance(3)
        assert (await shell.record(connection)).end_reason is EndReason.CLOSED


async def test_comparing_drops_what_moved_elsewhere() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        owner = connection.context.owner
        assert owner is not None
        from greenroom.core.requests import AttachRequest, Owner

        await shell.inner.registry.beat(NodeBeat(node="n2", boot="b", lease="l2"))
        await shell.inner.registry.attach(
            AttachRequest(
                session_id=owner.session_id, node="n2", lease="l2",
                previous=Owner(owner.session_id, owner.generation, owner.lease),
            )
        )  # fmt: skip
        await shell.node.recovery.compare()
        assert link.end is not None
        assert link.end[0] == 4503
        assert not link.notifications("session.ended")


def _redis(clock: ManualClock) -> Engine:
    return RedisEngine("redis://in-process", store=LuaStore(LuaServer(lambda: clock.now_ms() * 1000)))


async def test_comparing_notifies_of_an_end_whose_record_is_gone_and_writes_nothing_back() -> None:
    """Another node ended it, its command is still on the way, and many sessions of the participant ended since."""
    async with running_shell(_redis) as shell:
        registry = shell.inner.registry
        connection, link = await shell.open()
        assert connection.context.owner is not None
        session_id = connection.context.owner.session_id
        await registry.close(EndRequest(session_id=session_id, reason=EndReason.REPLACED))
        await shell.advance(1)
        for number in range(ENDED_OF_PARTICIPANT):
            later, _ = await shell.open(openId=f"open id number {number}")
            assert later.context.owner is not None
            await registry.close(EndRequest(session_id=later.context.owner.session_id, reason=EndReason.CLOSED))
        assert (await registry.sessions(SessionQuery(session_id=session_id))).items == ()
        await shell.node.recovery.compare()
        assert [one["reason"] for one in link.notifications("session.ended")] == ["replaced"]
        assert (await registry.sessions(SessionQuery(app=APP))).items == ()
        page = await shell.inner.outbox.read(APP, None, 1000)
        ends = [event.session_id for event in page.items if event.type == "session.ended"]
        assert ends.count(session_id) == 1
        assert len(ends) == ENDED_OF_PARTICIPANT + 1


async def test_comparing_detaches_strays_at_the_second_look_and_never_ends_them() -> None:
    async with running_shell() as shell:
        connection, _ = await shell.open()
        owner = connection.context.owner
        assert owner is not None
        del shell.hub.sessions[owner.session_id]
        await shell.node.recovery.compare()
        assert (await shell.record(connection)).state is RegistryState.ATTACHED
        await shell.node.recovery.compare()
        assert (await shell.record(connection)).state is RegistryState.DETACHED


async def test_comparing_reads_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PAGE", 2)
    async with running_shell() as shell:
        for number in range(5):
            await shell.open("anna", openId=f"open id number {number}")
        listed = await shell.node.recovery._listed()
        assert len(listed) == 5


@pytest.mark.interpreted
async def test_a_silent_subscription_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine counts a change that was never received: it is read again (S13)."""
    monkeypatch.setattr(recovery, "NOTICE_AFTER", 0.01)
    async with running_shell() as shell:
        _, link = await shell.open()
        anna = participant_id_of(NAMESPACE, "anna")
        shell.hub.seen[partition_of(APP, anna)] = 2**60
        await shell.node.beat()
        arrived = shell.listener.changed

        def deaf(change: Change) -> None:
            pass

        shell.listener.changed = deaf
        bob, _ = await shell.open("anna", openId="another open id here")
        shell.listener.changed = arrived
        del shell.hub.seen[partition_of(APP, anna)]
        shell.hub.seen[partition_of(APP, anna)] = 1
        await shell.flush()
        before = len(link.notifications("participants.changed"))
        await shell.node.beat()
        await asyncio.sleep(0.05)
        await shell.flush()
        received = link.notifications("participants.changed")[before:]
        assert received[-1]["participants"][0]["sessions"] == 2
        assert not bob.is_over


async def test_s11_what_was_received_below_what_was_sent_is_written_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "RECOVERED_AFTER", 0.0)
    async with running_shell(_redis) as shell:
        connection, _ = await shell.open()
        assert connection.context.session is not None
        record = connection.context.session.participant

        async def version_after_a_beat() -> int:
            await shell.node.beat()
            await shell.settle()
            (stored,) = await read_participants(shell.inner.registry, APP, [record.id])
            return stored.version

        assert await version_after_a_beat() == record.version
        sent = record.version + 10**12
        shell.hub.fan_out.passed_on[APP, record.id] = sent
        assert await version_after_a_beat() == record.version
        shell.hub.fan_out.note(record)
        assert await version_after_a_beat() > sent


async def _in_room(shell: Shell, room: str = "standup") -> tuple[SessionConnection, Any]:
    """An open session that is in a room."""
    connection, link = await shell.open()
    shell.say(connection, "rooms.join", 5, room=room)
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert connection.rooms_held == {room}, link.messages
    return connection, link


async def test_r10_a_room_that_is_held_and_not_listed_is_lost_at_the_second_comparison() -> None:
    async with running_shell() as shell:
        connection, link = await _in_room(shell)
        owner = connection.context.owner
        assert owner is not None
        participant_id = connection.context.participant_id
        await shell.inner.rooms.leave(LeaveRoom(app=APP, participant_id=participant_id, room="standup", owner=owner))
        await shell.node.recovery.compare()
        assert link.notifications("rooms.left") == []
        await shell.node.recovery.compare()
        assert link.notifications("rooms.left") == [{"room": "standup", "reason": "lost"}]
        assert connection.rooms_held == frozenset()


async def test_r10_a_room_that_is_listed_and_not_held_is_left_at_the_second_comparison() -> None:
    async with running_shell() as shell:
        connection, link = await _in_room(shell)
        rooms = connection.context.rooms
        assert rooms is not None
        rooms.left("standup")  # as if the answer to its join had been an error
        await shell.node.recovery.compare()
        assert (await shell.record(connection)).rooms == ("standup",)
        await shell.node.recovery.compare()
        assert (await shell.record(connection)).rooms == ()
        assert link.notifications("rooms.left") == []


async def test_r10_a_room_that_both_know_stays() -> None:
    async with running_shell() as shell:
        connection, link = await _in_room(shell)
        for _ in range(3):
            await shell.node.recovery.compare()
        assert ((await shell.record(connection)).rooms, connection.rooms_held) == (("standup",), frozenset({"standup"}))
        assert link.notifications("rooms.left") == []


async def test_s15_what_is_restored_has_its_rooms() -> None:
    async with running_shell() as shell:
        connection, _ = await _in_room(shell)
        restorable = shell.node.recovery._restorable(connection)
        assert restorable is not None
        assert restorable[0].rooms == ("standup",)


async def test_r1_a_session_that_is_taken_back_learns_what_it_lost() -> None:
    async with running_shell() as shell:
        connection, link = await _in_room(shell)
        shell.away = True
        for _ in range(12):  # another node reaps: the lease lapses
            await shell.advance(1)
            await shell.inner.registry.reap()
        assert is_in(connection, ServerState.FENCED)
        await shell.inner.rooms.moderate(
            KickMember(app=APP, room="standup", participant_id=connection.context.participant_id)
        )
        shell.away = False
        await shell.advance(3)
        assert is_in(connection, ServerState.OPEN)
        assert link.notifications("rooms.left") == [{"room": "standup", "reason": "kicked"}]
        assert connection.rooms_held == frozenset()
