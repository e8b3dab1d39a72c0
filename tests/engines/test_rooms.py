"""The contract of rooms: a page of a roster that a node makes of its own copy continues in any engine."""

from __future__ import annotations

import pytest

from greenroom.engines.rooms import cursor_after
from greenroom.errors import IllegalArgumentError
from greenroom.testing.engine_world import EmbeddedWorld, World
from tests.engines.redis.worlds import LuaWorld


@pytest.mark.parametrize("world", [EmbeddedWorld, LuaWorld])
async def test_the_page_behind_a_member_is_found_by_a_cursor_that_nobody_stored(world: type[World]) -> None:
    async with world() as w:
        clients = [await w.client(f"user-{number}") for number in range(4)]
        for client in clients:
            await client.join("lobby")
        ids = sorted(client.participant_id for client in clients)
        for count in range(4):
            cursor = cursor_after(ids[count - 1] if count else "")
            page = await w.roster("lobby", cursor=cursor)
            assert sorted(member.id for member in page.members) == ids[count:]
        await clients[0].leave("lobby")
        await w.rosters_follow()
        left = clients[0].participant_id
        behind = await w.roster("lobby", cursor=cursor_after(left))
        assert [member.id for member in behind.members] == [one for one in ids if one > left], (
            "who is gone is a place too"
        )
        with pytest.raises(IllegalArgumentError, match="Invalid cursor"):
            await w.roster("lobby", cursor=left)
