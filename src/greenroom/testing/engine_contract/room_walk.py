"""A random walk that goes through rooms too, with oracles for rosters and their watchers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from greenroom.core.requests import ParticipantQuery
from greenroom.core.rooms.requests import EndRoom, KickMember, RoomLimits
from greenroom.engines.base import SessionQuery
from greenroom.model import SessionRecord, participant_id_of
from greenroom.testing.engine_contract.room_rosters import RosterWatcher
from greenroom.testing.engine_contract.walk import USERS, Walk
from greenroom.testing.engine_world import APP, NAMESPACE, World

ROOMS = ("lobby", "kitchen", "roof")
LIMITS = RoomLimits(rooms_of_session=2, roster_attributes=("role", "team"))
SMALL = RoomLimits(members=1, roster_attributes=("role", "team"))


class RoomWalk(Walk):
    """The walk, where sessions join and leave three rooms, are kicked out of them, and rooms are ended."""

    def __init__(self, world: World, chance: random.Random) -> None:
        super().__init__(world, chance)
        self.watchers: list[RosterWatcher] = []

    def actions(self) -> Sequence[tuple[Callable[[], Awaitable[object]], int]]:
        return (
            *super().actions(),
            (self._join, 12),
            (self._leave, 4),
            (self._create, 1),
            (self._kick_out, 1),
            (self._end_room, 1),
        )

    async def check(self) -> None:
        await super().check()
        if not self.watchers:
            self.watchers = [await RosterWatcher(self.world, room).start() for room in ROOMS]
        await self.world.rosters_follow()
        listed = (await self.world.engine.registry.sessions(SessionQuery(app=APP, limit=1000))).items
        for watcher in self.watchers:
            version = watcher.version
            await watcher.received()
            assert await watcher.agrees(), watcher.room
            assert watcher.version >= version
            await self._check_members(watcher, listed)
        await self._check_events(over=False)

    async def finish(self) -> None:
        await super().finish()
        assert [watcher.members for watcher in self.watchers] == [{}, {}, {}]
        await self._check_events(over=True)

    async def _check_members(self, watcher: RosterWatcher, listed: Sequence[SessionRecord]) -> None:
        """Who is in the room by its roster, and by the sessions."""
        inside = Counter(session.participant_id for session in listed if watcher.room in session.rooms)
        assert {member.id: member.sessions for member in watcher.members.values()} == inside, watcher.room
        assert watcher.count == len(inside)
        ids = list(watcher.members)
        records = (await self.world.engine.registry.participants(ParticipantQuery(app=APP, ids=ids))).items
        for record in records:
            assert watcher.members[record.id].record_version <= record.version

    async def _check_events(self, *, over: bool) -> None:
        """One `joined` and one `left` for each stay, in turn."""
        all_events = await self.world.events()
        for room in ROOMS:
            events = [event for event in all_events if event.data.get("room") == room]
            for user in USERS:
                stays = [event.type for event in events if event.participant_id == participant_id_of(NAMESPACE, user)]
                stays = [each for each in stays if each in ("room.joined", "room.left")]
                assert stays == [("room.joined", "room.left")[number % 2] for number in range(len(stays))], stays
                assert not over or len(stays) % 2 == 0
            kinds = [event.type for event in events if event.type in ("room.opened", "room.ended")]
            assert kinds == [("room.opened", "room.ended")[number % 2] for number in range(len(kinds))], kinds

    async def _join(self) -> None:
        client = self.any_client()
        if client is not None:
            await client.join(self.chance.choice(ROOMS), limits=self.chance.choice([LIMITS, LIMITS, SMALL]))

    async def _leave(self) -> None:
        client = self.any_client()
        if client is not None:
            await client.leave(self.chance.choice(ROOMS))

    async def _create(self) -> None:
        room = self.chance.choice(ROOMS)
        request = self.world.room_request(room, ttl=self.chance.choice([0.0, 10.0]), limits=LIMITS)
        await self.world.engine.rooms.create(request)

    async def _kick_out(self) -> None:
        who = participant_id_of(NAMESPACE, self.chance.choice(USERS))
        seconds = self.chance.choice([0.0, 5.0])
        request = KickMember(app=APP, room=self.chance.choice(ROOMS), participant_id=who, seconds=seconds)
        await self.world.engine.rooms.moderate(request)

    async def _end_room(self) -> None:
        await self.world.engine.rooms.moderate(EndRoom(app=APP, room=self.chance.choice(ROOMS)))
