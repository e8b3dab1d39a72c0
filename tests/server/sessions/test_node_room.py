"""One room, as a node has it: when it is needed, and when its copy of the roster may be used."""

from __future__ import annotations

import asyncio

from greenroom.core.rooms.watching import WatchedRoster
from greenroom.server.sessions.node_room import NodeRoom
from tests.core.server.rig import APP
from tests.core.server.room_rig import roster


def test_it_is_needed_while_someone_is_there_watches_or_asks() -> None:
    room = NodeRoom(APP, "standup")
    assert (room.key, room.is_needed) == ((APP, "standup"), False)
    room.asking = 1
    assert room.is_needed


async def test_its_copy_may_be_used_when_all_pages_were_read() -> None:
    room = NodeRoom(APP, "standup")
    room.roster = WatchedRoster(roster(), 10)
    found = [room.has_copy]
    room.is_whole = True
    found.append(room.has_copy)
    room.reading = asyncio.create_task(asyncio.sleep(0))
    found.append(room.has_copy)
    await room.reading
    assert found == [False, True, False], "not before all pages, nor while it is read again"
