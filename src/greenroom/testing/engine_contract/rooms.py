"""Rooms: R1 to R12, as far as they are an engine's."""

from __future__ import annotations

import random
from typing import Any

from greenroom.codes import ErrorCode
from greenroom.core.rooms.names import SHORTEST_EMPTY_TTL
from greenroom.core.rooms.requests import RoomQuery
from greenroom.engines.base import SessionQuery
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_contract.room_memberships import ROOM, MembershipsContract
from greenroom.testing.engine_contract.room_messages import InvitationsContract, MessagesContract, ModerationContract
from greenroom.testing.engine_contract.room_rosters import RostersContract
from greenroom.testing.engine_contract.room_walk import ROOMS, RoomWalk
from greenroom.testing.engine_world import APP, World


class OpenRoomsContract(ContractBase):
    """What is open: creating, time to live, and lists."""

    async def test_an_empty_room_is_kept_for_a_minute_or_its_ttl(self) -> None:
        async with self.make_world() as w:
            await w.engine.rooms.create(w.room_request("brief", ttl=5))
            await w.engine.rooms.create(w.room_request("long", ttl=SHORTEST_EMPTY_TTL + 30))
            await w.advance(SHORTEST_EMPTY_TTL - 2)
            assert await self._open(w) == ["brief", "long"]
            await w.advance(5)
            assert await self._open(w) == ["long"]
            await w.advance(30)
            assert await self._open(w) == []
            assert await w.room_types("brief") == ["opened", "ended"]

    async def test_creating_what_is_there_changes_nothing(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            joined = await a.join(ROOM)
            again = await w.engine.rooms.create(w.room_request(ROOM, ttl=500, detailed=False))
            assert (again.version, again.record) == (joined.version, joined.record)
            await a.leave(ROOM)
            assert await self._open(w) == []

    async def test_a_room_outlasts_its_last_member_by_its_ttl(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            created = await w.engine.rooms.create(w.room_request(ROOM, ttl=20))
            assert created.record is not None
            await a.join(ROOM)
            await w.advance(100)
            await a.leave(ROOM)
            await w.advance(15)
            back = await a.join(ROOM)
            assert back.record is not None
            assert (back.record.id, back.record.ttl, back.record.opened_by) == (created.record.id, 20.0, "")
            await a.leave(ROOM)
            await w.advance(25)
            assert await self._open(w) == []
            assert await w.room_types(ROOM) == ["opened", "joined", "left", "joined", "left", "ended"]

    async def test_a_session_opens_rooms_as_their_owner(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            request = w.room_request(ROOM, owner=a.owner, opened_by=a.participant_id)
            roster = await w.engine.rooms.create(request)
            assert roster.record is not None
            assert (roster.record.opened_by, roster.count) == (a.participant_id, 0)
            await a.resume()
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await w.engine.rooms.create(w.room_request("another", owner=request.owner))
            assert await self._open(w) == [ROOM]

    async def test_r10_a_brief_list_says_in_which_rooms_a_session_is(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            for room in (ROOM, "Ã\u0410"):
                await a.join(room)
            await b.join(ROOM)
            await b.leave(ROOM)
            listed = await w.engine.registry.sessions(SessionQuery(node=w.node, brief=True))
            rooms = {one.id: sorted(one.rooms) for one in listed.items}
            assert rooms == {a.id: sorted((ROOM, "Ã\u0410")), b.id: []}

    async def test_rooms_are_found_by_name_id_participant_and_search(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            for room in ("Team Red", "team blue", "Öffentlich"):
                await a.join(room)
            await b.join("team blue")
            await b.join("gone")
            await b.leave("gone")
            await w.open(app="app-2")

            async def found(**query: Any) -> list[str]:
                return [room.name for room in (await w.engine.rooms.rooms(RoomQuery(app=APP, **query))).items]

            assert sorted(await found()) == sorted(["Team Red", "team blue", "Öffentlich"])
            assert await found(names=["team blue", "gone", "unknown", "Team Red"]) == ["team blue", "Team Red"]
            (blue,) = (await w.engine.rooms.rooms(RoomQuery(app=APP, names=["team blue"]))).items
            assert (blue.app, blue.count, blue.opened_by) == (APP, 2, a.participant_id)
            assert await found(room_id=blue.id) == ["team blue"]
            assert await found(room_id="r0-unknown") == []
            assert (await w.engine.rooms.rooms(RoomQuery(app="app-2", room_id=blue.id))).items == ()
            assert await found(participant_id=b.participant_id) == ["team blue"]
            assert sorted(await found(search="TEAM")) == ["Team Red", "team blue"]
            assert await found(search="öff") == ["Öffentlich"]
            with refused(ErrorCode.ILLEGAL_ARGUMENT):
                await found(cursor="!")

    async def test_lists_of_rooms_come_by_page(self) -> None:
        async with self.make_world() as w:
            names = [f"room-{number}" for number in range(7)]
            for name in names:
                await w.engine.rooms.create(w.room_request(name))
            found: list[str] = []
            cursor = None
            while True:
                page = await w.engine.rooms.rooms(RoomQuery(app=APP, cursor=cursor, limit=3))
                assert len(page.items) <= 3
                found += [room.name for room in page.items]
                cursor = page.cursor
                if cursor is None:
                    break
            assert sorted(found) == names

    async def _open(self, w: World) -> list[str]:
        return sorted(room.name for room in (await w.engine.rooms.rooms(RoomQuery(app=APP))).items)


class RoomsContract(
    MembershipsContract, RostersContract, OpenRoomsContract, MessagesContract, ModerationContract, InvitationsContract
):
    """All cases about rooms."""

    async def test_a_random_life_in_rooms_keeps_every_promise(self) -> None:
        seed = random.SystemRandom().getrandbits(32)
        print(f"seed {seed}")  # noqa: T201 - shown by the test runner where the case fails
        async with self.make_world() as w:
            walk = RoomWalk(w, random.Random(seed))
            for _ in range(walk.steps):
                await walk.step()
            await walk.finish()
            for room in ROOMS:
                assert (await w.roster(room)).count == 0
