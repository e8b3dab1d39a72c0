"""S15 and S16: an engine that lost what it knew, and what nodes write back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.engines.base import (
    ENDED_OF_PARTICIPANT,
    OPEN_ID_MEMORY,
    BlockParticipant,
    NodeBeat,
    RestoreRequest,
    SessionQuery,
)
from greenroom.engines.redis import RedisEngine
from greenroom.errors import GreenroomError, ServiceUnavailableError, SessionEndedError
from greenroom.model import Application, Presence, RegistryState
from greenroom.testing.engine_contract import APP, refused
from greenroom.testing.engine_world import Client, World, secret
from tests.engines.redis.worlds import LuaWorld
from tests.support.lua_redis import LuaStore


async def beat(w: World) -> bool:
    """Whether the node has to restore."""
    result = await w.engine.registry.beat(NodeBeat(node=w.node, boot="boot-of-" + w.node, lease=w.lease))
    return result.recovering


async def restore(w: World, *clients: Client, finish: bool = True) -> int:
    held = tuple((client.session, client.attached.participant, client.secret, 0) for client in clients)
    request = RestoreRequest(node=w.node, lease=w.lease, sessions=held, finish=finish)
    return await w.engine.registry.restore(request)


async def test_s15_an_empty_engine_refuses_everything_retryably() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        w.server.lose_everything()
        for attempt in (w.open("bob"), a.update(name="x"), a.detach(5), a.stored(), a.record()):
            with refused(ErrorCode.ENGINE_RECOVERING):
                await attempt
        assert await beat(w)
        assert (await w.engine.registry.reap()).ended == ()


async def test_s15_nodes_write_back_what_they_hold() -> None:
    async with LuaWorld() as w:
        a, b = await w.client("alice", name="Alice", device_id="d"), await w.client("bob")
        version = a.attached.participant.version
        w.server.lose_everything()
        assert await beat(w)
        assert await restore(w, a, b) == 2
        assert not await beat(w)
        stored = await a.stored()
        assert stored is not None
        assert (stored.state, stored.generation, stored.device_id) == (RegistryState.ATTACHED, 1, "d")
        record = await a.record()
        assert (record.name, record.presence, record.sessions) == ("Alice", Presence.ONLINE, 1)
        assert record.version > version
        await a.update(name="Alicia")  # the owner still owns
        page = await w.engine.registry.sessions(SessionQuery(app=APP))
        assert {session.id for session in page.items} == {a.id, b.id}


async def test_s15_attributes_and_statuses_are_written_back() -> None:
    async with LuaWorld() as w:
        a = await w.client(attributes={"role": "nurse", "text": 'a "b"'}, status="away")
        b = await w.client()
        await b.update(status="busy", update_id=None)
        known = await a.record()
        assert known.status == "busy"
        w.server.lose_everything()
        await beat(w)
        statuses = {a.id: "away", b.id: "busy"}
        held = tuple((replace(each.session, status=statuses[each.id]), known, each.secret, 0) for each in (a, b))
        request = RestoreRequest(node=w.node, lease=w.lease, sessions=held, finish=True)
        assert await w.engine.registry.restore(request) == 2
        record = await a.record()
        assert (record.attributes, record.status) == ({"role": "nurse", "text": 'a "b"'}, "busy")
        stored = await a.stored()
        assert stored is not None
        assert stored.status == "away"
        await b.close()
        assert (await a.record()).status == "away"


async def test_s7_a_status_that_a_failover_lost_is_written_again() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        snapshot = w.server.snapshot()
        updated = await a.update(status="away", update_id=None)
        w.server.go_back(snapshot)
        held = ((replace(a.session, status="away"), updated, secret("x"), 0),)
        assert await w.engine.registry.restore(RestoreRequest(node=w.node, lease=w.lease, sessions=held)) == 1
        record, stored = await a.record(), await a.stored()
        assert stored is not None
        assert (record.status, stored.status) == ("away", "away")
        assert record.version > updated.version


async def test_s15_a_record_made_from_its_sessions_has_their_status() -> None:
    async with LuaWorld() as w:
        a = await w.client(status="away")
        (key,) = [key for key in w.server.commands.data if b":p:" in key]
        del w.server.commands.data[key]
        assert (await a.resume()).participant.status == "away"


async def test_s15_for_20_s_an_unknown_session_may_still_come_back() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        w.server.lose_everything()
        await beat(w)
        await restore(w)
        await beat(w)
        with refused(ErrorCode.ENGINE_RECOVERING):
            await a.resume()
        await w.advance(19)
        with refused(ErrorCode.ENGINE_RECOVERING):
            await a.resume()
        await w.advance(2)
        with refused(ErrorCode.STATE_LOST):
            await a.resume()


async def test_s15_another_nodes_restore_makes_this_one_write_back_too() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        other = await w.another_node()
        await other.registry.beat(NodeBeat(node="node-2", boot="b", lease="lease-2"))
        w.server.lose_everything()
        nothing = RestoreRequest(node="node-2", lease="lease-2", sessions=(), finish=True)
        assert (await other.registry.beat(NodeBeat(node="node-2", boot="b", lease="lease-2"))).recovering
        await other.registry.restore(nothing)
        assert not (await other.registry.beat(NodeBeat(node="node-2", boot="b", lease="lease-2"))).recovering
        assert await beat(w), "the marker is new: what this node holds is missing"
        assert await restore(w, a) == 1
        assert not await beat(w)
        assert await a.stored() is not None
        await other.stop()


async def test_s15_an_engine_that_lost_nothing_changes_nothing() -> None:
    async with LuaWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        await b.close()
        before = w.server.snapshot()
        assert await restore(w, a, b) == 0
        after = w.server.snapshot()
        for snapshot in (before, after):
            for key, value in snapshot.items():
                if hasattr(value, "order"):
                    snapshot[key] = value.order
                elif hasattr(value, "entries"):
                    snapshot[key] = value.entries
        assert before == after


async def test_s7_what_is_held_at_a_higher_generation_is_written_again() -> None:
    """A failover to a replica that has not received the last attach and update."""
    async with LuaWorld() as w:
        a = await w.client(name="old")
        snapshot = w.server.snapshot()
        attached = await a.resume()
        updated = await a.update(name="new")
        w.server.go_back(snapshot)
        held = ((attached.session, updated, secret("x"), 7),)
        request = RestoreRequest(node=w.node, lease=w.lease, sessions=held)
        assert await w.engine.registry.restore(request) == 1
        stored = await a.stored()
        assert stored is not None
        assert stored.generation == attached.session.generation
        record = await a.record()
        assert (record.name, record.sessions, record.revision) == ("new", 1, updated.revision)
        assert record.version > updated.version


async def test_s7_a_session_that_made_room_for_later_ended_ones_is_not_written_back() -> None:
    """Its node has not been notified yet: it holds what has ended, and its record is gone."""
    async with LuaWorld() as w:
        first = await w.client("alice")
        await first.close()
        await w.advance(1)
        for _ in range(ENDED_OF_PARTICIPANT):
            await (await w.client("alice")).close()
        assert await first.stored() is None
        assert await restore(w, first, finish=False) == 0
        assert (await w.record("alice")).sessions == 0
        with refused(ErrorCode.SESSION_ENDED) as caught:
            await first.resume()
        assert caught.end_reason == "closed"
        begins_and_ends = [event.id for event in await w.events() if event.session_id == first.id]
        assert begins_and_ends == [f"{first.id}:opened", f"{first.id}:ended"]
        await w.advance(OPEN_ID_MEMORY + 5)
        assert not [key for key in w.server.commands.data if key.endswith(b":gone")]
        with refused(ErrorCode.STATE_LOST):
            await first.resume()


async def test_s15_directory_and_blocks_come_back_first_and_by_tombstone() -> None:
    async with LuaWorld() as w:
        directory = w.engine.directory
        saved = await directory.save_application(Application(key=APP, name="One", namespace="n", disabled=True))
        bob = await w.client("bob", app="other")
        await w.engine.registry.restrict(BlockParticipant(app="other", participant_id=bob.participant_id, reason="why"))
        restrictions = await directory.restrictions()
        version = await directory.version()
        w.server.lose_everything()
        assert await directory.applications() == ()
        await directory.put_back([saved], [], restrictions)  # before any marker is set
        assert await directory.version() > 0
        assert version > 0
        await restore(w)
        await w.join(w.node, w.lease)
        assert await directory.applications() == (saved,)
        assert set(await directory.restrictions()) == set(restrictions)
        with refused(ErrorCode.PARTICIPANT_BLOCKED):
            await w.open("bob", app="other", token=w.token(age=-5))
        with refused(ErrorCode.APPLICATION_DISABLED):
            await w.open("alice")


async def test_s16_a_partition_that_lost_its_past_says_so_to_readers() -> None:
    async with LuaWorld() as w:
        await w.open("alice")
        page = await w.engine.outbox.read(APP, None)
        assert len(page.items) == 2
        w.server.lose_everything()
        await beat(w)
        await restore(w)
        await beat(w)
        again = await w.engine.outbox.read(APP, page.cursor)
        assert again.reset
        await w.open("alice")
        after = await w.engine.outbox.read(APP, again.cursor)
        assert not after.reset
        assert [event.type for event in after.items] == ["session.opened", "participant.online"]


async def test_s2_an_answer_that_was_lost_is_repeated_safely() -> None:
    async with LuaWorld() as w:
        request = w.open_request("alice")
        fates = iter(["unanswered", "away"])
        w.server.fate = lambda call: next(fates, None) if call.function == "open" else None
        for _ in range(2):
            with pytest.raises(ServiceUnavailableError):
                await w.engine.registry.open(request)
        attached = await w.engine.registry.open(request)
        assert not attached.created
        assert attached.session.generation == 2
        page = await w.engine.registry.sessions(SessionQuery(app=APP))
        assert len(page.items) == 1
        opened = [event for event in await w.events() if event.type == "session.opened"]
        assert len(opened) == 1


async def test_s8_an_outage_consumes_nobodys_grace() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        await a.detach(8)
        await w.advance(3)
        w.server.up = False
        await w.step(600)
        with pytest.raises(GreenroomError):
            await w.engine.registry.reap()
        w.server.up = True
        assert (await w.advance(3)).ended == ()  # of the 600 s, 2 count
        ended = (await w.advance(2)).ended
        assert [session.id for session in ended] == [a.id]
        with pytest.raises(SessionEndedError):
            await a.resume()


async def test_s15_sessions_that_are_written_back_keep_their_grace_and_their_nodes_lease() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        engine = RedisEngine("redis://in-process", store=LuaStore(w.server), lease=30.0)
        await engine.start()
        w.server.lose_everything()
        w.kill(w.node)
        held = ((a.session, a.attached.participant, a.secret, 0),)
        request = RestoreRequest(node=w.node, lease=w.lease, sessions=held, grace=5.0, finish=True)
        assert await engine.registry.restore(request) == 1
        await w.advance(25)
        stored = await a.stored()
        assert stored is not None
        assert stored.state is RegistryState.ATTACHED, "the lease is 30 s, not 10"
        await w.advance(7)
        stored = await a.stored()
        assert stored is not None
        assert stored.state is RegistryState.DETACHED
        await w.advance(6)
        stored = await a.stored()
        assert stored is not None
        assert stored.state is RegistryState.CLOSED, "the grace is 5 s, not 40"
        await engine.stop()
