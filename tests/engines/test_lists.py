"""What one call of a list looks at is bounded, however many sessions there are and whoever they belong to."""

from __future__ import annotations

import pytest

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import ENDED_OF_PARTICIPANT, SessionQuery
from greenroom.engines.embedded import queries
from greenroom.engines.embedded import statistics as embedded_statistics
from greenroom.engines.paging import all_participants, all_sessions
from greenroom.engines.redis import listing
from greenroom.engines.redis import statistics as redis_statistics
from greenroom.model import SessionPolicy
from greenroom.testing.engine_world import APP, EmbeddedWorld, World
from tests.engines.redis.worlds import LuaWorld

MANY = SessionPolicy(max_sessions=10_000)


async def test_embedded_a_list_of_few_among_many_comes_in_short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "WINDOWS", 1)
    monkeypatch.setattr(queries, "_WINDOW_END", queries._WINDOW_END.replace(str(queries.WINDOW), "20"))
    async with EmbeddedWorld() as w:
        mine = []
        for number in range(120):
            app = APP if number % 40 == 0 else "app-2"
            session = (await w.open(f"user-{number}", app=app)).session
            if app == APP:
                mine.append(session.id)
        page = await w.engine.registry.sessions(SessionQuery(app=APP, limit=100))
        assert len(page.items) == 1
        assert page.cursor is not None
        assert [one.id async for one in all_sessions(w.engine.registry, SessionQuery(app=APP))] == mine
        every = [one.id async for one in all_sessions(w.engine.registry, SessionQuery(limit=7))]
        assert len(every) == len(set(every)) == 120
        empty = await w.engine.registry.sessions(SessionQuery(node="node-2", limit=100))
        assert (empty.items, empty.cursor is None) == ((), False)


async def test_embedded_a_search_looks_at_a_bounded_number_of_participants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "LOOKED_AT", 20)
    async with EmbeddedWorld() as w:
        await _search_among_many(w)


async def test_redis_a_search_looks_at_a_bounded_number_of_participants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "HEADS", 1)
    monkeypatch.setattr(listing, "ROUNDS", 1)
    async with LuaWorld() as w:
        await _search_among_many(w)


async def _search_among_many(w: World) -> None:
    """Some pages are empty, and everybody is found once all the same."""
    wanted = sorted([(await w.client(f"user-{number}", name=f"Name {number}")).participant_id for number in range(120)])
    for search, found in (("name", 120), ("NAME 77", 1), ("user-11", 11)):
        query = ParticipantQuery(app=APP, search=search, limit=50)
        page = await w.engine.registry.participants(query)
        assert len(page.items) < min(found, 50) or found == 1
        assert page.cursor is not None
        ids = [one.id async for one in all_participants(w.engine.registry, query)]
        assert len(ids) == found
        assert set(ids) <= set(wanted)
        assert ids == sorted(ids)


async def test_counting_many_takes_several_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_statistics, "LOOKED_AT", 7)
    monkeypatch.setattr(redis_statistics, "LOOKED_AT", 1)
    for world in (EmbeddedWorld(), LuaWorld()):
        async with world as w:
            clients = [await w.client(f"user-{number // 2}") for number in range(100)]
            for client in clients[:11]:
                await client.detach()
            found = await w.engine.statistics.count(APP)
            assert (found.online, found.unreachable, found.attached, found.detached) == (45, 5, 89, 11)


async def test_redis_a_list_of_few_among_many_comes_in_short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_LOOKED_AT", 10)
    async with LuaWorld() as w:
        await w.join("node-2", "lease-2")
        for _ in range(60):
            await w.open("alice", policy=MANY)
        other = (await w.open("alice", policy=MANY, node="node-2", lease="lease-2")).session.id
        page = await w.engine.registry.sessions(SessionQuery(node="node-2", limit=100))
        assert page.items == ()
        assert page.cursor is not None
        found = [one.id async for one in all_sessions(w.engine.registry, SessionQuery(node="node-2"))]
        assert found == [other]
        every = [one.id async for one in all_sessions(w.engine.registry, SessionQuery(limit=7))]
        assert len(every) == len(set(every)) == 61


async def test_redis_ended_sessions_among_much_that_is_due_come_in_short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async with LuaWorld() as w:
        clients = [await w.client("alice", policy=MANY) for _ in range(130)]
        for number, client in enumerate(clients):
            await (client.detach() if number % 2 else client.close())
        query = SessionQuery(app=APP, ended=True, limit=100)
        expected = {client.id for client in clients[2::2]}
        assert len(expected) == ENDED_OF_PARTICIPANT
        assert {one.id for one in (await w.engine.registry.sessions(query)).items} == expected
        monkeypatch.setattr(listing, "MOST_LOOKED_AT", 10)
        page = await w.engine.registry.sessions(query)
        assert len(page.items) <= 10
        for limit in (3, 100):
            few = SessionQuery(app=APP, ended=True, limit=limit)
            found = [one.id async for one in all_sessions(w.engine.registry, few)]
            assert (len(found), set(found)) == (len(expected), expected)


async def test_embedded_ended_sessions_of_one_among_many_come_in_short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "WINDOWS", 1)
    monkeypatch.setattr(queries, "_WINDOW_END", queries._WINDOW_END.replace(str(queries.WINDOW), "20"))
    async with EmbeddedWorld() as w:
        clients = [await w.client("alice" if number == 70 else f"user-{number}") for number in range(90)]
        for client in clients:
            await client.close()
        query = SessionQuery(app=APP, participant_id=clients[70].participant_id, ended=True)
        page = await w.engine.registry.sessions(query)
        assert (page.items, page.cursor is None) == ((), False)
        assert [one.id async for one in all_sessions(w.engine.registry, query)] == [clients[70].id]
