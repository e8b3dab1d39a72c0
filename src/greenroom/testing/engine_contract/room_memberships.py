"""Memberships of rooms: R1 to R3, and the limits of R12."""

from __future__ import annotations

from typing import Any

from greenroom.codes import ErrorCode
from greenroom.core.rooms.requests import RoomLimits, RoomQuery
from greenroom.engines.base import EraseParticipant, KickParticipant, SessionQuery
from greenroom.model import EndReason, Presence, SessionPolicy
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP, Client, World

ROOM = "standup"


async def reason_of_leaving(w: World, room: str = ROOM) -> Any:
    """Of whoever left the room last."""
    return [event.data["reason"] for event in await w.room_events(room) if event.type == "room.left"][-1]


class MembershipsContract(ContractBase):
    """R1: a membership follows its session. R2, R3: and the roster follows it, with one event for each stay."""

    async def test_r1_a_join_opens_the_room_and_its_answer_has_the_session_in_the_roster(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice", avatar_url="/a.png")
            roster = await a.join(ROOM)
            assert (roster.room, roster.count, roster.detailed, roster.cursor) == (ROOM, 1, True, None)
            assert roster.since is None
            (member,) = roster.members
            assert (member.id, member.external_id) == (a.participant_id, "alice")
            assert (member.name, member.avatar_url, member.status) == ("Alice", "/a.png", None)
            assert (member.presence, member.sessions) == (Presence.ONLINE, 1)
            assert abs(member.joined_at - w.now_ms()) < 1000
            assert roster.record is not None
            assert (roster.record.name, roster.record.opened_by) == (ROOM, a.participant_id)
            assert (await w.roster(ROOM)).members == roster.members
            assert await a.rooms() == (ROOM,)
            assert await w.room_types(ROOM) == ["opened", "joined"]

    async def test_r1_a_repeated_join_or_leave_changes_nothing(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            first = await a.join(ROOM)
            again = await a.join(ROOM)
            assert (again.version, again.members) == (first.version, first.members)
            await a.leave("another")
            await a.leave(ROOM)
            left = await w.roster(ROOM)
            await a.leave(ROOM)
            assert await w.roster(ROOM) == left
            assert await a.rooms() == ()
            assert await w.room_types(ROOM) == ["opened", "joined", "left", "ended"]

    async def test_r1_resuming_changes_nothing_and_a_detached_session_stays(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await a.detach(40)
            await w.advance(10)
            assert list(await w.members(ROOM)) == [a.participant_id]
            resumed = await a.resume()
            assert resumed.session.rooms == (ROOM,)
            assert resumed.lost_rooms == ()
            await w.rosters_follow()
            assert await a.rooms() == (ROOM,)
            assert await w.room_types(ROOM) == ["opened", "joined"]

    async def test_r1_a_node_that_takes_its_session_back_has_its_rooms(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await w.join("node-2", "lease-2")
            back = await w.engine.registry.attach(a.take_back_request(a.owner, "node-2", "lease-2"))
            assert back.session.rooms == (ROOM,)

    async def test_r1_lists_of_sessions_say_their_rooms_brief_ones_too(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            for brief in (False, True):
                for query in (SessionQuery(app=APP, brief=brief), SessionQuery(node=w.node, brief=brief)):
                    listed = (await w.engine.registry.sessions(query)).items
                    assert {each.id: each.rooms for each in listed} == {a.id: (ROOM,), b.id: ()}, query

    async def test_r1_a_session_takes_its_memberships_along_however_it_ends(self) -> None:
        async def close(w: World, a: Client) -> object:
            return await a.close()

        async def time_out(w: World, a: Client) -> object:
            await a.detach(5)
            return await w.advance(8)

        async def kick(w: World, a: Client) -> object:
            return await w.engine.registry.restrict(KickParticipant(app=APP, participant_id=a.participant_id))

        async def replace(w: World, a: Client) -> object:
            return await w.open(policy=SessionPolicy(max_sessions=1, when_full="replace_oldest"), token=w.token(age=0))

        async def erase(w: World, a: Client) -> object:
            return await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))

        for end, reason in (
            (close, EndReason.CLOSED),
            (time_out, EndReason.TIMEOUT),
            (kick, EndReason.KICKED),
            (replace, EndReason.REPLACED),
            (erase, EndReason.KICKED),
        ):
            async with self.make_world() as w:
                a = await w.client()
                await a.join(ROOM)
                await a.join("another")
                await end(w, a)
                await w.rosters_follow()
                for room in (ROOM, "another"):
                    assert (await w.members(room), (await w.roster(room)).count) == ({}, 0), reason
                    assert await w.room_types(room) == ["opened", "joined", "left", "ended"], reason
                    assert await reason_of_leaving(w, room) == reason

    async def test_r1_an_anonymous_participant_leaves_with_its_session(self) -> None:
        async with self.make_world() as w:
            a = await w.client(None, name="Guest")
            assert [member.name for member in (await a.join(ROOM)).members] == ["Guest"]
            await a.close()
            await w.rosters_follow()
            assert await w.members(ROOM) == {}
            assert await reason_of_leaving(w) == "closed"

    async def test_r1_a_member_stays_until_its_last_session_leaves(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client(), await w.client()
            joined_at = (await a.join(ROOM)).members[0].joined_at
            await w.advance(5)
            (member,) = (await b.join(ROOM)).members
            assert (member.sessions, member.joined_at) == (2, joined_at)
            await a.close()
            await w.rosters_follow()
            (member,) = (await w.members(ROOM)).values()
            assert (member.sessions, member.joined_at) == (1, joined_at)
            assert await w.room_types(ROOM) == ["opened", "joined"]
            await b.leave(ROOM)
            assert await w.room_types(ROOM) == ["opened", "joined", "left", "ended"]
            assert await reason_of_leaving(w) == "left"

    async def test_r1_only_the_owner_joins_and_leaves(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            stale = a.owner
            await a.resume()
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await a.join("another", owner=stale)
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await a.leave(ROOM, owner=stale)
            assert await a.rooms() == (ROOM,)
            await a.close()
            with refused(ErrorCode.SESSION_ENDED):
                await a.join(ROOM)

    async def test_r1_rooms_wait_until_every_node_has_them(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            w.add_node("node-2", "lease-2", protocol=2)
            await w.advance(3)
            with refused(ErrorCode.ROOMS_UNAVAILABLE):
                await a.join("another")
            with refused(ErrorCode.ROOMS_UNAVAILABLE):
                await w.engine.rooms.create(w.room_request("another"))
            w.kill("node-2")
            await w.advance(15)
            await a.join("another")
            assert await a.rooms() == ("another", ROOM)

    async def test_r1_a_token_that_grants_a_room_no_more_ends_the_membership(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await a.join("another")
            session = await w.engine.registry.refresh(a.owner, w.token(), [ROOM, "unknown"])
            assert session.rooms == ("another",)
            await w.rosters_follow()
            assert await w.members(ROOM) == {}
            assert await reason_of_leaving(w) == "permission_lost"

    async def test_r1_two_applications_never_meet(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client(), await w.client(app="app-2")
            await a.join(ROOM)
            roster = await b.join(ROOM)
            assert [member.id for member in roster.members] == [b.participant_id]
            assert list(await w.members(ROOM)) == [a.participant_id]
            await b.leave(ROOM)
            assert (await w.roster(ROOM)).count == 1

    async def test_r2_events_are_one_pair_for_each_stay_with_ids_of_their_own(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await b.join(ROOM)
            for _ in range(3):
                await a.join(ROOM)
                await a.leave(ROOM)
            events = await w.room_events(ROOM)
            assert [event.type for event in events] == ["room.opened", "room.joined", *["room.joined", "room.left"] * 3]
            assert len({event.id for event in events}) == len(events)
            (room,) = (await w.engine.rooms.rooms(RoomQuery(app=APP, names=[ROOM]))).items
            for event in events:
                room_id, participant_id, number, what = event.id.split(":")
                assert (room_id, participant_id) == (room.id, event.participant_id)
                assert event.type == f"room.{what}"
                assert event.data["roomId"] == room.id
                assert abs(int(number) / 1000 - event.at) < 1000
            numbers = [int(event.id.split(":")[2]) for event in events if event.participant_id == a.participant_id]
            assert numbers == sorted(set(numbers)), "each is above the one before"

    async def test_r3_events_hold_ids_only(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice", name="Alice", attributes={"role": "nurse"})
            await a.join(ROOM, limits=RoomLimits(roster_attributes=("role",)))
            await a.leave(ROOM)
            for event in await w.room_events(ROOM):
                assert set(event.data) <= {"room", "roomId", "reason"}, event

    async def test_r12_a_session_is_in_so_many_rooms_and_an_application_has_so_many(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            limits = RoomLimits(rooms_of_session=2, rooms=3)
            await a.join("one", limits=limits)
            await a.join("two", limits=limits)
            with refused(ErrorCode.ROOM_LIMIT_REACHED):
                await a.join("three", limits=limits)
            await a.join("two", limits=limits)
            await b.join("three", limits=limits)
            with refused(ErrorCode.ROOM_LIMIT_REACHED):
                await b.join("four", limits=limits)
            with refused(ErrorCode.ROOM_LIMIT_REACHED):
                await w.engine.rooms.create(w.room_request("four", limits=limits))
            await a.leave("one")
            await w.engine.rooms.create(w.room_request("four", limits=limits))
            assert await a.rooms() == ("two",)
            assert await b.rooms() == ("three",)

    async def test_r12_a_room_takes_so_many_members_and_every_session_of_theirs(self) -> None:
        async with self.make_world() as w:
            a, b, c = await w.client("alice"), await w.client("bob"), await w.client("alice")
            limits = RoomLimits(members=1)
            await a.join(ROOM, limits=limits)
            with refused(ErrorCode.ROOM_FULL):
                await b.join(ROOM, limits=limits)
            assert await b.rooms() == ()
            assert (await c.join(ROOM, limits=limits)).members[0].sessions == 2
            await a.leave(ROOM)
            await c.leave(ROOM)
            assert (await b.join(ROOM, limits=limits)).count == 1
            assert (await w.room_types(ROOM)).count("joined") == 2

    async def test_r12_a_detailed_room_takes_as_many_as_it_may_name_and_a_counted_one_more(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            limits = RoomLimits(detailed_members=1)
            await w.engine.rooms.create(w.room_request("counted", detailed=False, limits=limits))
            for room in (ROOM, "counted"):
                await a.join(room, limits=limits)
            with refused(ErrorCode.ROOM_FULL):
                await b.join(ROOM, limits=limits)
            assert (await b.join("counted", limits=limits)).count == 2

    async def test_rooms_and_members_survive_a_restart(self) -> None:
        async with self.make_world() as w:
            if not w.restartable:
                return
            a = await w.client()
            first = await a.join(ROOM)
            await w.restart()
            again = await w.roster(ROOM)
            assert (again.count, [member.id for member in again.members]) == (1, [a.participant_id])
            assert again.version >= first.version
            assert (await a.resume()).session.rooms == (ROOM,)
            await a.leave(ROOM)
            assert (await w.roster(ROOM)).count == 0
