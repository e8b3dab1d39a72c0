"""Lists that are longer than a page."""

from __future__ import annotations

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import SessionQuery
from greenroom.engines.paging import MAX_PAGE, all_participants, all_sessions, page_limit
from greenroom.testing.engine_world import APP, EmbeddedWorld


async def test_all_of_a_list_is_read_page_after_page() -> None:
    async with EmbeddedWorld() as w:
        opened = {(await w.open(f"user-{n}")).session.id for n in range(7)}
        registry = w.engine.registry
        sessions = [one.id async for one in all_sessions(registry, SessionQuery(app=APP, limit=3))]
        assert (len(sessions), set(sessions)) == (7, opened)
        people = [one.id async for one in all_participants(registry, ParticipantQuery(app=APP, limit=3))]
        assert (len(people), people) == (7, sorted(people))
        assert [one async for one in all_sessions(registry, SessionQuery(app="nobody"))] == []


def test_a_page_has_between_one_row_and_a_thousand() -> None:
    assert [page_limit(asked) for asked in (-1, 0, 5, MAX_PAGE + 1)] == [1, 1, 5, MAX_PAGE]
