"""Rooms that sessions of this node are in or watch: subscriptions, members and watchers, copies of rosters (R5).

What can go wrong, and which rule prevents it
---------------------------------------------

*A change happens between subscribing and reading.* The bus is asked before the engine. What comes until the roster is
there waits, and is applied to it in order; older versions change nothing.

*A change does not follow on what is held.* `since` says so: the roster is read again, and what differs is sent as if it
had changed now.

*The last member leaves while another joins.* A room stays as long as someone is in it, watches it, or asks for it;
then it is unsubscribed, also where the subscription was still under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import structlog
from msgspec import structs

from greenroom.core.rooms.news import RoomMessage, RosterChange
from greenroom.core.rooms.requests import Roster, RosterQuery, WatchRooms
from greenroom.core.rooms.watching import AnyRoster, WatchedRoster, bytes_of
from greenroom.core.states import ServerState
from greenroom.engines.base import Bus
from greenroom.engines.completion import READY
from greenroom.engines.rooms import REMOVALS_KEPT, ROSTER_BYTES, Rooms, cursor_after
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.model import partition_of_room
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.room_fan_out import RoomFanOut, RoomKey, SentRoster

log = structlog.stdlib.get_logger("greenroom.rooms")

READ_AT_ONCE = 64
"""Rosters that are read again at the same time."""
MOST_EARLY = 1_000
"""Changes of a room that wait while its roster is read; where more come it is read once more."""
COPY_SECONDS = 0.5
"""Seconds for which a join waits for the node's copy to have it, before the roster is read from the engine."""


class TaskOwner(Protocol):
    """Runs coroutines, and owns them until they are done (`sessions.hub.Hub`)."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it."""


class NodeRoom:
    """One room, as this node has it."""

    __slots__ = ("app", "asking", "early", "error", "is_subscribed", "is_whole", "members",
                 "name", "reading", "roster", "sent", "subscribing", "waiting", "watchers")  # fmt: skip

    def __init__(self, app: str, name: str) -> None:
        self.app = app
        self.name = name
        self.members: dict[SessionConnection, None] = {}
        """Connections whose session is in the room."""
        self.watchers: dict[SessionConnection, None] = {}
        self.asking = 0
        """Requests under way that need it."""
        self.is_subscribed = False
        self.subscribing: asyncio.Task[None] | None = None
        self.error: GreenroomError | None = None
        """What the last subscribing or reading failed with."""
        self.roster: WatchedRoster | None = None
        """While someone watches the room, or asks to."""
        self.is_whole = False
        """Whether all pages of the roster were read."""
        self.reading: asyncio.Task[None] | None = None
        self.early: list[RosterChange] = []
        """Changes that wait for the roster."""
        self.sent = SentRoster()
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits until the roster is at a version."""

    @property
    def has_copy(self) -> bool:
        """Whether the node's copy is what the engine has, but for what is on its way."""
        return self.is_whole and self.roster is not None and self.reading is None

    @property
    def key(self) -> RoomKey:
        return self.app, self.name

    @property
    def is_needed(self) -> bool:
        """Whether the node has to know of it."""
        return bool(self.members or self.watchers or self.asking)


class NodeRooms:
    """One for each node. tasks: owns what is begun here. source: where rosters are read. clock: monotonic seconds.
    count_sent: is given how many frames were sent."""

    def __init__(
        self,
        tasks: TaskOwner,
        bus: Bus,
        source: Rooms,
        *,
        clock: Callable[[], float],
        count_sent: Callable[[int], None],
    ) -> None:
        self._tasks = tasks
        self._bus = bus
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._rooms: dict[RoomKey, NodeRoom] = {}
        self.fan_out = RoomFanOut(self._rooms, clock=clock, count_sent=count_sent)
        self.is_unread = False
        """Whether something could not be subscribed to, or read: to be tried again with `read_again`."""

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def memberships(self) -> int:
        """Of sessions of this node."""
        return sum(len(room.members) for room in self._rooms.values())

    def stop(self) -> None:
        """No more timers."""
        self.fan_out.stop()

    # -- subscribing --------------------------------------------------------------------------------------------------

    def acquire(self, app: str, names: Iterable[str]) -> tuple[NodeRoom, ...]:
        """These are needed until `release`: what changes from now on is received once `subscribed` has returned."""
        held = tuple([self._room(app, name) for name in names])
        for room in held:
            room.asking += 1
        return held

    def release(self, held: Iterable[NodeRoom]) -> None:
        """What was acquired is needed no more, but by who is in it or watches it."""
        for room in held:
            room.asking -= 1
            self._tidy(room)

    def _room(self, app: str, name: str) -> NodeRoom:
        room = self._rooms.get((app, name))
        if room is None:
            room = self._rooms[app, name] = NodeRoom(app, name)
        if not room.is_subscribed and room.subscribing is None:
            self._subscribe(room)
        return room

    def _subscribe(self, room: NodeRoom) -> None:
        room.error = None
        watching = self._bus.watch_rooms(room.app, (room.name,))
        if watching is READY:
            room.is_subscribed = True
        else:
            room.subscribing = self._tasks.spawn(self._confirm(room, watching))

    async def _confirm(self, room: NodeRoom, watching: Awaitable[None]) -> None:
        try:
            await watching
        except GreenroomError as error:
            room.error, self.is_unread = error, True
            log.info("a room was not subscribed to", error=error.message)
        else:
            room.is_subscribed = True
        finally:
            room.subscribing = None
        self._tidy(room)

    async def subscribed(self, held: Iterable[NodeRoom]) -> None:
        """Returns when changes of these, and messages, are received. Raises GreenroomError."""
        for room in held:
            if room.subscribing is not None:
                await asyncio.wait((room.subscribing,))
            if not room.is_subscribed:
                raise room.error or ServiceUnavailableError()

    def _tidy(self, room: NodeRoom) -> None:
        """Forget what nobody needs."""
        if not (room.watchers or room.asking):
            room.roster, room.is_whole, room.sent = None, False, SentRoster()
            room.early.clear()
        if room.is_needed or self._rooms.get(room.key) is not room or room.subscribing is not None:
            return
        del self._rooms[room.key]
        if room.is_subscribed:
            unwatching = self._bus.unwatch_rooms(room.app, (room.name,))
            if unwatching is not READY:
                self._tasks.spawn(self._unwatch(unwatching))

    async def _unwatch(self, unwatching: Awaitable[None]) -> None:
        try:
            await unwatching
        except GreenroomError as error:
            log.info("a room was not unsubscribed", error=error.message)

    # -- members and watchers -----------------------------------------------------------------------------------------

    def settle(self, connection: SessionConnection) -> None:
        """Put the connection on, or take it off, the lists of members and watchers, as its session says."""
        context = connection.context
        rooms = context.rooms
        if rooms is None:
            return
        if context.state is ServerState.GONE:
            self.fan_out.give_up(rooms.watches)
            for name in {*rooms.joined, *rooms.watches.sent, *rooms.touched}:
                room = self._rooms.get((context.app, name))
                if room is not None:
                    room.members.pop(connection, None)
                    room.watchers.pop(connection, None)
                    self._tidy(room)
            return
        for name in rooms.take_touched():
            self._place(
                connection, name, is_member=name in rooms.joined, is_watcher=rooms.watches.sent.get(name, -1) >= 0
            )

    def _place(self, connection: SessionConnection, name: str, *, is_member: bool, is_watcher: bool) -> None:
        app = connection.context.app
        room = self._room(app, name) if is_member or is_watcher else self._rooms.get((app, name))
        if room is None:
            return
        if is_member:
            room.members[connection] = None
        else:
            room.members.pop(connection, None)
        if is_watcher:
            room.watchers[connection] = None
            if room.roster is None:
                self._read(room)
            else:
                self.fan_out.catch_up(connection, room)
        else:
            room.watchers.pop(connection, None)
        self._tidy(room)

    def drained(self, connection: SessionConnection, messages: int) -> None:
        """The connection's buffer is empty. messages: that waited, and went."""
        self.fan_out.drained(connection, messages)

    # -- rosters ------------------------------------------------------------------------------------------------------

    def took(self, room: NodeRoom, roster: Roster) -> None:
        """The engine answered a join with this roster, for a session that watches: the node's copy begins with it where
        there is none."""
        if room.roster is not None or room.reading is not None:
            return
        room.roster = WatchedRoster(roster, REMOVALS_KEPT)
        room.sent = SentRoster(room.roster.version)
        room.is_whole = roster.cursor is None or not roster.detailed
        self._apply_early(room)
        if not room.is_whole:
            self._read(room)

    def answer_to_join(self, room: NodeRoom, answered: Roster) -> AnyRoster | None:
        """The roster for the reply to a join that the engine answered with one member: the node's own copy. None where
        that is not at the join's version."""
        copy = room.roster
        if copy is not None and not answered.detailed:
            return structs.replace(answered, members=(), cursor=copy.cursor)
        if copy is None or not room.has_copy or copy.version < answered.version:
            return None
        return copy.first_page(ROSTER_BYTES, cursor_after)

    def when_at(self, room: NodeRoom, version: int, then: Callable[[], None]) -> None:
        """Calls `then` when the copy is at the version, or `COPY_SECONDS` are over; never before this has returned."""
        copy = room.roster
        if copy is None or copy.version >= version:
            self._loop.call_soon(then)
            return
        reached = self._loop.create_future()
        timer = self._loop.call_later(COPY_SECONDS, reached.cancel)

        def done(_reached: asyncio.Future[None]) -> None:
            timer.cancel()
            then()

        reached.add_done_callback(done)
        room.waiting.append((version, reached))

    async def ask(self, room: NodeRoom, *, limit: int = 0, since: int | None = None) -> Roster:
        """The engine's roster. Raises GreenroomError."""
        return await self._source.roster(RosterQuery(app=room.app, room=room.name, limit=limit, since=since))

    async def read(self, held: Sequence[NodeRoom], request: WatchRooms) -> list[AnyRoster]:
        """The rosters of these, in order, or what differs from the versions known. Raises GreenroomError."""
        await self.subscribed(held)
        most = ROSTER_BYTES // max(1, len(held))
        return [await self._roster(room, request.known.get(room.name), most) for room in held]

    async def _roster(self, room: NodeRoom, known: int | None, most: int) -> AnyRoster:
        """most: bytes of members in it, about."""
        if not room.is_whole or room.roster is None or room.reading is not None:
            await asyncio.wait((self._read(room),))
        if known and room.roster is not None and room.roster.version < known:
            await asyncio.wait((self._read(room),))  # the last change is on its way here, or a failover lost it
            if room.error is not None:
                raise room.error
        copy = room.roster
        if copy is None or not room.is_whole:
            raise room.error or ServiceUnavailableError()
        if known and copy.version < known:  # S11: lost, or nothing is stored any more
            return structs.replace(copy.first_page(most, cursor_after), version=known + 1)
        if known and copy.detailed:
            if known < copy.floor:
                found = await self.ask(room, since=known)
                if found.cursor is None and bytes_of(found) <= most:
                    return found
            elif copy.bytes_since(known) <= most:
                return copy.wire(known)
        return copy.first_page(most, cursor_after)

    def _read(self, room: NodeRoom) -> asyncio.Task[None]:
        """Read the whole roster: one at a time."""
        if room.reading is None:
            room.error = None
            room.reading = self._tasks.spawn(self._read_whole(room))
        return room.reading

    async def _read_whole(self, room: NodeRoom) -> None:
        try:
            pages = [await self._source.roster(RosterQuery(app=room.app, room=room.name))]
            while pages[-1].cursor is not None and pages[-1].detailed:
                pages.append(
                    await self._source.roster(RosterQuery(app=room.app, room=room.name, cursor=pages[-1].cursor))
                )
        except GreenroomError as error:
            room.error, self.is_unread = error, True
            log.info("a roster was not read", error=error.message)
            return
        finally:
            room.reading = None
        if not (room.watchers or room.asking):
            return
        if room.roster is None:
            room.roster = WatchedRoster(pages[0], REMOVALS_KEPT)
            room.sent = SentRoster(room.roster.version)
            for page in pages[1:]:
                room.roster.take_page(page)
        else:
            room.roster.replace(pages)
        room.is_whole = True
        self._apply_early(room)

    def _apply_early(self, room: NodeRoom) -> None:
        early, room.early = room.early, []
        for change in early:
            if room.roster is not None and not room.roster.apply(change):
                self.is_unread = True  # read a moment ago: an engine that is not itself now
        self._note(room)

    def _keep_early(self, room: NodeRoom, change: RosterChange) -> None:
        if len(room.early) >= MOST_EARLY:
            room.early.clear()
            self.is_unread = True
        room.early.append(change)

    async def read_again(self, partitions: Sequence[int] | None) -> None:
        """Changes of these partitions (None: of all) may have been missed: subscribe where that failed, and read what
        is watched. What differs is sent."""
        self.is_unread = False
        rooms = iter(tuple(self._rooms.values()))
        while some := tuple(islice(rooms, READ_AT_ONCE)):
            if partitions is not None:
                some = tuple([room for room in some if partition_of_room(room.app, room.name) in partitions])
            for room in some:
                if not room.is_subscribed and room.subscribing is None:
                    self._subscribe(room)
            watched = [room for room in some if room.watchers]
            if any(room.reading is not None for room in watched):
                self.is_unread = True  # a read that is under way may have been answered before the change
            if reading := [self._read(room) for room in watched]:
                await asyncio.wait(reading)

    # -- BusListener --------------------------------------------------------------------------------------------------

    def changed(self, change: RosterChange) -> None:
        """The roster of a watched room changed."""
        room = self._rooms.get((change.app, change.room))
        if room is None or not (room.watchers or room.asking):
            return
        copy = room.roster
        if copy is None or room.reading is not None:
            self._keep_early(room, change)
        elif copy.apply(change):
            self._note(room)
        else:
            self._keep_early(room, change)
            self._read(room)

    def message(self, message: RoomMessage) -> None:
        """A message to the members of a room."""
        room = self._rooms.get((message.app, message.room))
        if room is not None and room.members:
            self.fan_out.message(room, message)

    def _note(self, room: NodeRoom) -> None:
        copy = room.roster
        if copy is not None and room.waiting:
            self._wake(room, copy.version)
        self.fan_out.changed(room)

    def _wake(self, room: NodeRoom, version: int) -> None:
        for wanted, reached in room.waiting:
            if wanted <= version and not reached.done():
                reached.set_result(None)
        room.waiting = [one for one in room.waiting if not one[1].done()]
