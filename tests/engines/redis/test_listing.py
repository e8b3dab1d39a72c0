"""Lists put together from the partitions: each item once, and cursors of theirs alone."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import SessionQuery
from greenroom.engines.cursors import encode_cursor
from greenroom.engines.paging import all_participants, all_sessions
from greenroom.engines.redis.listing import participants_by_id
from greenroom.errors import IllegalArgumentError, ServiceUnavailableError
from greenroom.model import PARTITIONS, ParticipantRecord, Presence
from greenroom.testing.engine_world import APP
from tests.engines.redis.worlds import LuaWorld


async def test_participants_come_in_the_order_asked_for_and_unknown_ones_as_offline() -> None:
    async with LuaWorld() as w:
        ids = [(await w.client(f"user-{number}")).participant_id for number in range(10)]
        asked = [ids[3], "nobody", ids[0], ids[3]]
        found = await participants_by_id(w.node_store, APP, asked)
        assert [record.id for record in found] == asked
        assert [record.version > 0 for record in found] == [True, False, True, True]
        assert found[1] == ParticipantRecord(app=APP, id="nobody")
        assert await participants_by_id(w.node_store, APP, []) == ()


@pytest.mark.parametrize("limit", [1, 3, 20])
async def test_pages_of_any_size_hold_everybody_once(limit: int) -> None:
    async with LuaWorld() as w:
        clients = [await w.client(f"user-{number}") for number in range(20)]
        for client in clients[::2]:
            await client.close()
        everybody = sorted(client.participant_id for client in clients)
        query = ParticipantQuery(app=APP, limit=limit)
        assert [one.id async for one in all_participants(w.engine.registry, query)] == everybody
        online = ParticipantQuery(app=APP, limit=limit, presence=(Presence.ONLINE,))
        found = [one.id async for one in all_participants(w.engine.registry, online)]
        assert found == sorted(client.participant_id for client in clients[1::2])
        sessions = [one.id async for one in all_sessions(w.engine.registry, SessionQuery(app=APP, limit=limit))]
        assert sorted(sessions) == sorted(client.id for client in clients[1::2])
        ended = SessionQuery(app=APP, ended=True, limit=limit)
        assert {one.id async for one in all_sessions(w.engine.registry, ended)} == {one.id for one in clients[::2]}


async def test_an_id_that_no_session_can_have_is_asked_of_nobody() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        w.server.fate = lambda call: "away"
        for session_id in ("", "x", f"p{PARTITIONS}-x", "p-1-x"):
            assert (await w.engine.registry.sessions(SessionQuery(session_id=session_id))).items == ()
        with pytest.raises(ServiceUnavailableError):
            await w.engine.registry.sessions(SessionQuery(session_id=a.id))


@pytest.mark.parametrize(
    ("query", "cursors"),
    [
        (
            SessionQuery(app=APP),
            ("x", encode_cursor("s", (PARTITIONS, "m")), encode_cursor("s", (-1, "m")), encode_cursor("s", "m"),
             encode_cursor("e", (0, 1, "m"))),
        ),
        (
            SessionQuery(app=APP, ended=True),
            ("x", encode_cursor("e", (PARTITIONS, 1, "m")), encode_cursor("e", (0, -1, "m")),
             encode_cursor("e", (0, 2**53, "m")), encode_cursor("s", (0, "m"))),
        ),
        (ParticipantQuery(app=APP), ("x", encode_cursor("p", 7), encode_cursor("s", "anna"))),
    ],
    ids=["sessions", "ended", "participants"],
)  # fmt: skip
async def test_a_cursor_of_another_list_or_a_place_that_is_none_is_invalid(
    query: SessionQuery | ParticipantQuery, cursors: tuple[str, ...]
) -> None:
    async with LuaWorld() as w:
        for cursor in cursors:
            asked = msgspec.structs.replace(query, cursor=cursor)
            with pytest.raises(IllegalArgumentError, match="Invalid cursor"):
                await (
                    w.engine.registry.sessions(asked)
                    if isinstance(asked, SessionQuery)
                    else w.engine.registry.participants(asked)
                )


async def test_a_partition_that_is_away_fails_the_list_and_not_a_part_of_it() -> None:
    async with LuaWorld() as w:
        await w.client()
        w.server.fate = lambda call: "away" if call.tag == "p63" else None
        for query in (SessionQuery(app=APP), SessionQuery(app=APP, ended=True)):
            with pytest.raises(ServiceUnavailableError):
                await w.engine.registry.sessions(query)
        with pytest.raises(ServiceUnavailableError):
            await w.engine.registry.participants(ParticipantQuery(app=APP))
