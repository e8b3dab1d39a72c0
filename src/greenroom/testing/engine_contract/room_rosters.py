"""Rosters, and how watchers follow them: R4 and R5."""

from __future__ import annotations

from typing import Self

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.requests import UpdateRequest
from greenroom.core.rooms.requests import RoomLimits, Roster
from greenroom.engines.base import EraseParticipant
from greenroom.engines.rooms import RosterChange
from greenroom.model import MemberRecord, Presence
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_contract.room_memberships import ROOM, reason_of_leaving
from greenroom.testing.engine_world import APP, World


class RosterWatcher:
    """A watcher of one room, as a node or a client is: it holds a roster, and applies changes as R5 says."""

    def __init__(self, world: World, room: str = ROOM) -> None:
        self.world = world
        self.room = room
        self.version = 0
        self.members: dict[str, MemberRecord] = {}
        self.count = 0
        self.id = ""
        """The room's; empty where it is not open."""
        self.applied = 0
        self.read = 0
        """How often the roster had to be read again."""

    async def start(self) -> Self:
        """Subscribes, then reads."""
        await self.world.engine.bus.watch_rooms(APP, [self.room])
        await self.look()
        return self

    async def look(self) -> None:
        page = await self.world.roster(self.room)
        self.version, self.count, self.id = page.version, page.count, "" if page.record is None else page.record.id
        self.members = await self.world.members(self.room)

    async def received(self) -> list[RosterChange]:
        """Applies what was published since the last call. What that was."""
        await self.world.rosters_follow()
        changes = [change for change in self.world.listener.room_changes if change.room == self.room]
        fresh, self.applied = changes[self.applied :], len(changes)
        for change in fresh:
            if change.version <= self.version:
                continue
            if change.since > self.version:
                self.read += 1
                await self.look()
                continue
            for member in (*change.joined, *change.changed):
                self.members[member.id] = member
            for participant_id, _ in change.left:
                self.members.pop(participant_id, None)
            self.version, self.count, self.id = change.version, change.count, change.room_id
        return fresh

    async def agrees(self) -> bool:
        """Whether it holds what is stored, without having read it again."""
        page = await self.world.roster(self.room)
        room_id = "" if page.record is None else page.record.id
        stored = (page.version, page.count, room_id, await self.world.members(self.room))
        return self.read == 0 and (self.version, self.count, self.id, self.members) == stored


class RostersContract(ContractBase):
    """R4, R5: what a roster shows, and how watchers follow it."""

    async def test_r4_a_member_has_the_participants_name_status_and_listed_attributes(self) -> None:
        async with self.make_world() as w:
            limits = RoomLimits(roster_attributes=("role", "team"))
            a = await w.client(name="Alice", attributes={"role": "nurse", "pin": "1234"}, status="busy")
            (member,) = (await a.join(ROOM, limits=limits)).members
            assert (member.name, member.status, member.attributes) == ("Alice", "busy", {"role": "nurse"})
            await w.advance(2)
            await a.update(name="Alicia", attributes={"team": "b", "role": None})
            await w.rosters_follow()
            (member,) = (await w.members(ROOM)).values()
            assert (member.name, member.attributes) == ("Alicia", {"team": "b"})
            await w.advance(2)
            await a.update(status="away", update_id=None)
            await w.rosters_follow()
            record = await a.record()
            (member,) = (await w.members(ROOM)).values()
            assert (member.name, member.status, member.record_version) == ("Alicia", "away", record.version)

    async def test_r4_the_backend_and_a_second_session_change_the_record_too(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await a.join(ROOM)
            await w.advance(2)
            await w.open(name="Alicia")
            await w.rosters_follow()
            assert [member.name for member in (await w.members(ROOM)).values()] == ["Alicia"]
            await w.advance(2)
            request = UpdateRequest(app=APP, participant_id=a.participant_id, name="Dr. Alicia")
            await w.engine.registry.update_participant(request)
            await w.rosters_follow()
            (member,) = (await w.members(ROOM)).values()
            assert (member.name, member.sessions) == ("Dr. Alicia", 1)

    async def test_r4_a_record_travels_once_a_second_and_never_older_after_newer(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await w.advance(2)
            watcher = await RosterWatcher(w).start()
            for number in range(20):
                await a.update(name=f"Alice {number}")
                await w.step(0.05)
            changes = await watcher.received()
            await w.advance(2)
            changes += await watcher.received()
            records = [member for change in changes for member in change.changed]
            assert 1 <= len(records) <= 3, [record.name for record in records]
            versions = [record.record_version for record in records]
            assert versions == sorted(versions)
            assert records[-1].name == "Alice 19"
            assert await watcher.agrees()

    async def test_r4_presence_is_that_of_the_sessions_in_the_room(self) -> None:
        async with self.make_world() as w:
            a, other = await w.client(), await w.client()
            await a.join(ROOM)
            await other.join("another")
            await a.detach(40)
            await w.advance(5)
            assert (await a.record()).presence is Presence.ONLINE
            assert [member.presence for member in (await w.members(ROOM)).values()] == [Presence.UNREACHABLE]
            assert [member.presence for member in (await w.members("another")).values()] == [Presence.ONLINE]
            await a.resume()
            await w.rosters_follow()
            assert [member.presence for member in (await w.members(ROOM)).values()] == [Presence.ONLINE]

    async def test_r4_a_short_gap_is_not_noticed(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await w.advance(2)
            watcher = await RosterWatcher(w).start()
            await a.detach(40)
            await w.step(1)
            await a.resume()
            changes = await watcher.received()
            await w.advance(4)
            assert changes + await watcher.received() == []
            await a.detach(40)
            await w.advance(5)
            (change,) = await watcher.received()
            assert [member.presence for member in change.changed] == [Presence.UNREACHABLE]
            assert await watcher.agrees()

    async def test_r4_a_dead_node_leaves_its_members_unreachable_and_then_gone(self) -> None:
        async with self.make_world() as w:
            a = await w.client(grace=20.0)
            await a.join(ROOM)
            w.kill(w.node)
            await w.join("node-2", "lease-2")
            await w.advance(20)
            assert [member.presence for member in (await w.members(ROOM)).values()] == [Presence.UNREACHABLE]
            await w.advance(30)
            assert await w.members(ROOM) == {}
            assert await reason_of_leaving(w) == "timeout"

    async def test_r5_changes_are_differences_that_lead_to_the_same_roster(self) -> None:
        async with self.make_world() as w:
            watcher = await RosterWatcher(w).start()
            assert (watcher.version, watcher.members) == (0, {})
            a, b, c = await w.client("alice", name="A"), await w.client("bob"), await w.client("carol")
            second = await w.client("bob")
            await a.join(ROOM)
            (change, *_) = [change for change in await watcher.received() if change.joined]
            assert [member.id for member in change.joined] == [a.participant_id]
            assert await watcher.agrees()
            await b.join(ROOM)
            await second.join(ROOM)
            await watcher.received()
            assert await watcher.agrees()
            await c.join(ROOM)
            await w.advance(2)
            await a.update(name="B")
            await b.leave(ROOM)
            await second.detach(40)
            await w.advance(4)
            await watcher.received()
            assert await watcher.agrees()
            await c.close()
            await second.close()
            left = [each for change in await watcher.received() for each in change.left]
            assert sorted(left) == sorted([(c.participant_id, "closed"), (second.participant_id, "closed")])
            await a.leave(ROOM)
            assert (await watcher.received())[-1].ended
            assert (watcher.count, watcher.members) == (0, {})
            assert await watcher.agrees()

    async def test_r5_changes_of_a_room_that_nobody_watches_are_not_received(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.engine.bus.watch_rooms(APP, [ROOM, "another"])
            await w.engine.bus.watch_rooms(APP, [ROOM])
            await w.engine.bus.unwatch_rooms(APP, [ROOM, "another"])
            await a.join(ROOM)
            await a.join("another")
            await a.send("another")
            await w.rosters_follow()
            assert {change.room for change in w.listener.room_changes} == {ROOM}
            await w.engine.bus.unwatch_rooms(APP, [ROOM])
            before = len(w.listener.room_changes)
            await a.leave(ROOM)
            await w.rosters_follow()
            assert len(w.listener.room_changes) == before
            assert w.listener.room_messages == []

    async def test_r5_who_knows_a_version_gets_what_differs(self) -> None:
        async with self.make_world() as w:
            a, b, c = await w.client("alice"), await w.client("bob"), await w.client("carol")
            await a.join(ROOM)
            await b.join(ROOM)
            known = await w.roster(ROOM)
            same = await w.roster(ROOM, since=known.version)
            assert (same.since, same.members, same.left, same.count) == (known.version, (), (), 2)
            await w.advance(2)
            await c.join(ROOM)
            await b.leave(ROOM)
            differs = await w.roster(ROOM, since=known.version)
            assert [member.id for member in differs.members] == [c.participant_id]
            assert (differs.left, differs.since, differs.count) == ((b.participant_id,), known.version, 2)
            await b.join(ROOM)
            differs = await w.roster(ROOM, since=known.version)
            assert sorted(member.id for member in differs.members) == sorted([b.participant_id, c.participant_id])
            assert differs.left == ()
            whole = await w.roster(ROOM, since=differs.version + 10**9)
            assert (whole.since, len(whole.members)) == (None, 3)

    async def test_r5_removals_are_remembered_for_ten_minutes(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            await b.join(ROOM)
            known = (await w.roster(ROOM)).version
            await b.leave(ROOM)
            await w.advance(590)
            differs = await w.roster(ROOM, since=known)
            assert (differs.left, differs.since) == ((b.participant_id,), known)
            await w.advance(20)
            whole = await w.roster(ROOM, since=known)
            assert (whole.since, whole.left, [member.id for member in whole.members]) == (None, (), [a.participant_id])

    async def test_r5_rooms_forget_who_was_erased(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            for room in (ROOM, "left before", "ended"):
                await a.join(room)
                await b.join(room)
            held = {room: (await w.roster(room)).version for room in (ROOM, "left before", "ended")}
            await a.leave("left before")
            await a.leave("ended")
            await b.leave("ended")
            await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
            await w.advance(5)
            for room, version in held.items():
                found = await w.roster(room, since=version)
                assert (found.since, found.left) == (None, ()), "there may be removals that are not known any more"
                assert [member.id for member in found.members] == ([] if room == "ended" else [b.participant_id])
                assert found.record is None or not found.record.opened_by
            await b.leave(ROOM)
            assert await w.room_types(ROOM) == ["opened", "joined", "joined", "left", "left", "ended"]

    async def test_r5_what_comes_after_an_erase_is_remembered(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
            await w.step(2)
            again, b = await w.client("alice", token=w.token(age=0)), await w.client("bob")
            await again.join(ROOM)
            held = await b.join(ROOM)
            await w.advance(5)
            await again.leave(ROOM)
            found = await w.roster(ROOM, since=held.version)
            assert found.left == (again.participant_id,)
            assert found.record is not None
            assert found.record.opened_by == again.participant_id

    async def test_r5_versions_only_grow_across_the_end_of_a_room(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            assert await w.roster(ROOM) == Roster(room=ROOM)
            first = await a.join(ROOM)
            await a.leave(ROOM)
            ended = await w.roster(ROOM)
            assert (ended.members, ended.count, ended.record) == ((), 0, None)
            assert ended.version > first.version
            assert (await w.roster(ROOM, since=first.version)).left == (a.participant_id,)
            again = await a.join(ROOM)
            assert again.version > ended.version
            assert first.record is not None
            assert again.record is not None
            assert again.record.id != first.record.id
            await a.leave(ROOM)
            # Who knows a version of before it was forgotten gets the whole roster: who left then is no longer known.
            await w.advance(1210)
            await a.join(ROOM)
            assert (await w.roster(ROOM, since=again.version)).since is None
            await a.leave(ROOM)
            await w.advance(1210)
            watcher = await RosterWatcher(w).start()
            watcher.version = again.version
            await a.join(ROOM)
            await watcher.received()
            assert watcher.version > again.version
            assert list(watcher.members) == [a.participant_id]

    async def test_r5_rosters_come_by_page(self) -> None:
        async with self.make_world() as w:
            clients = [await w.client(f"user-{number}") for number in range(7)]
            for client in clients:
                await client.join(ROOM)
            ids = sorted(client.participant_id for client in clients)
            found: list[str] = []
            page = await w.roster(ROOM, limit=3)
            while page.cursor is not None:
                assert (len(page.members), page.count, page.version > 0) == (3, 7, True)
                found += [member.id for member in page.members]
                page = await w.roster(ROOM, limit=3, cursor=page.cursor)
            found += [member.id for member in page.members]
            assert found == ids
            assert len((await clients[0].join(ROOM, limit=2)).members) == 2
            brief = await clients[0].join(ROOM, limit=1, brief=True)
            assert (brief.version, brief.count, brief.record) == (page.version, 7, page.record)
            for cursor in ("!", "ä", "\ud800", "a" * 5000):
                with refused(ErrorCode.ILLEGAL_ARGUMENT):
                    await w.roster(ROOM, cursor=cursor)

    async def test_r5_a_reply_has_so_many_bytes_at_most(self) -> None:
        async with self.make_world() as w:
            limits = RoomLimits(roster_attributes=("note",))
            clients = [await w.client(f"user-{number}", attributes={"note": "x" * 1000}) for number in range(80)]
            for client in clients:
                await client.join(ROOM, limits=limits)
            roster = await clients[0].join(ROOM, limits=limits)
            assert roster.cursor is not None
            assert len(msgspec.json.encode(roster)) < 64 * 1024
            assert len(await w.members(ROOM)) == 80
            whole = await w.roster(ROOM, since=1)
            assert whole.since is None
            assert len(msgspec.json.encode(whole)) < 64 * 1024

    async def test_r5_a_counted_rooms_members_come_by_page_alone(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            created = await w.engine.rooms.create(w.room_request(ROOM, detailed=False))
            assert (created.detailed, created.count) == (False, 0)
            await w.engine.bus.watch_rooms(APP, [ROOM])
            roster = await a.join(ROOM)
            assert (roster.detailed, roster.count, roster.members) == (False, 1, ())
            assert roster.cursor is not None
            await b.join(ROOM)
            assert set(await w.members(ROOM)) == {a.participant_id, b.participant_id}
            assert len((await w.roster(ROOM, limit=1)).members) == 1
            await b.close()
            await w.rosters_follow()
            differs = await w.roster(ROOM, since=roster.version)
            assert (differs.count, differs.members, differs.left) == (1, (), ())
            for change in w.listener.room_changes:
                assert (change.joined, change.changed, change.left, change.detailed) == ((), (), (), False)
            assert w.listener.room_changes[-1].count == 1
