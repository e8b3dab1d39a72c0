"""What one call of a list looks at is bounded, however many sessions there are and whoever they belong to."""

from __future__ import annotations

import pytest

from greenroom.engines.base import SessionQuery
from greenroom.engines.embedded import queries
from greenroom.engines.paging import all_sessions
from greenroom.engines.redis import listing
from greenroom.model import SessionPolicy
from greenroom.testing.engine_world import APP, EmbeddedWorld
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
