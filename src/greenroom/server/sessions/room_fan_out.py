"""Changes of rooms to those who watch them, and messages to members (R5, R6).

What can go wrong, and which rule prevents it
---------------------------------------------

*A room of a thousand changes a hundred times a second.* A hundred messages a second to each of a thousand watchers
would hold up everybody else. Changes of a room are gathered for 100 ms and encoded once for all watchers of the node,
or for longer where those before are still to be written; of a counted room the count goes once a second.

*A watcher reads slowly.* Nothing is written to a connection whose buffer is full. Of rosters it is noted which one is
behind, and what differs from the version that was sent goes when the buffer is empty: memory for each connection is
bounded by the rooms that it watches. Messages wait up to 64 KiB; further ones are dropped and counted, and the client
is notified.

*Thousands of rooms change in one instant.* What one turn of the loop writes is bounded for all rooms together.

*More messages come than can be written.* Those that wait for their turn have `MOST_WAITING_BYTES` together; what is
more members miss, and learn how many.

*A message overtakes another.* Fan-outs of this node are carried out one after another, each in slices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from greenroom.core.rooms.news import RoomMessage
from greenroom.core.rooms.watching import RoomBatcher, RoomWatches, WatchedRoster, encode_message
from greenroom.core.server.context import TAKES_UPDATES
from greenroom.messages import MAX_PIECE_BYTES
from greenroom.server.sessions.connection import SessionConnection

MOST_WAITING_BYTES = 16 * 1024 * 1024
"""Of messages that wait for their turn, of all rooms of the node."""
_MESSAGE_BYTES = 512
"""What a message that waits takes beside its own."""
_TURN = 512
"""Connections that are written to before the loop gets its turn: some 5 ms."""
_SLICE = 128
"""Connections that are written to before that is looked at."""
_FRAME_COST = 4
"""What it costs to encode a change, in connections that are written to."""


RoomKey = tuple[str, str]
"""Application and name."""


class SentRoster:
    """What the watchers of a room were sent. version: of its roster."""

    __slots__ = ("is_queued", "version")

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self.is_queued = False
        """Whether a change is going to be sent, which brings what has changed until then."""


class FannedRoom(Protocol):
    """What is sent to whom (`sessions.rooms.NodeRoom`)."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> RoomKey: ...
    @property
    def members(self) -> Mapping[SessionConnection, None]: ...
    @property
    def watchers(self) -> Mapping[SessionConnection, None]: ...
    @property
    def roster(self) -> WatchedRoster | None: ...
    @property
    def sent(self) -> SentRoster: ...


class RoomFanOut:
    """One for each node. rooms: those that the node has to do with, as `NodeRooms` lists them. clock: monotonic
    seconds. count_sent: is given how many frames were sent."""

    def __init__(
        self, rooms: Mapping[RoomKey, FannedRoom], *, clock: Callable[[], float], count_sent: Callable[[int], None]
    ) -> None:
        self._rooms = rooms
        self._clock = clock
        self._count_sent = count_sent
        self._loop = asyncio.get_running_loop()
        self._batcher = RoomBatcher()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[Iterator[int]] = deque()
        """Fan-outs that were begun, or are to be."""
        self._waiting_bytes = 0
        """Of messages among them that are to be."""
        self._dropped: dict[FannedRoom, int] = {}
        """Messages that had no room among them, and of which members are to be notified."""
        self._left_in_turn = _TURN
        """Of what may be written in this turn of the loop."""
        self._is_turn_due = False
        self.changes_sent = 0
        """Frames of `rooms.changed`, since the start."""
        self.messages_sent = 0
        """Frames of `rooms.message`, since the start."""
        self.messages_missed = {"slow": 0, "away": 0}
        """Messages that were not sent, since the start: too much waited already; or they waited when the connection was
        lost."""

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()

    # -- changes ------------------------------------------------------------------------------------------------------

    def changed(self, room: FannedRoom) -> None:
        """The node's copy of a roster may be newer than what its watchers were sent."""
        copy = room.roster
        if copy is None or copy.version <= room.sent.version:
            return
        if not room.watchers:
            # Whoever watches from now on is sent what differs from the reply: a crowd that joined at once, all of it.
            room.sent.version = copy.version
            return
        now = self._clock()
        self._batcher.changed(room.key, now)
        if self._timer is None:
            self._timer = self._loop.call_later(self._batcher.wait(now) or 0.0, self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = self._clock()
        for key in self._batcher.drain(now):
            room = self._rooms.get(key)
            if room is None or room.roster is None or room.roster.version <= room.sent.version:
                continue
            copy, since = room.roster, room.sent.version
            room.sent.version = copy.version
            self._batcher.sent(key, now, detailed=copy.detailed)
            if not room.sent.is_queued:
                room.sent.is_queued = True
                self._fan_out(self._send_change(room, copy, since if copy.detailed else 0))
        wait = self._batcher.wait(now)
        if wait is not None:
            self._timer = self._loop.call_later(max(0.001, wait), self._flush)

    def _send_change(self, room: FannedRoom, copy: WatchedRoster, since: int) -> Iterator[int]:
        """Yields what it cost. The frame is made where someone gets it: who alone is in a room has joined it."""
        room.sent.is_queued = False
        name, version, frame = room.name, copy.version, b""
        for some in _slices(room.watchers):
            count, cost = 0, len(some)
            for connection in some:
                context, link = connection.context, connection.link
                if context.rooms is None:
                    continue
                watches = context.rooms.watches
                sent = watches.sent.get(name, -1)
                if not 0 <= sent < version:
                    continue
                if sent < since:
                    self.catch_up(connection, room)
                # `_may_write`, without the call.
                elif (
                    link is not None and not link.paused and not link.closed
                    and context.state in TAKES_UPDATES
                ):  # fmt: skip
                    if not frame:
                        version, frame = copy.version, copy.frame(since, MAX_PIECE_BYTES)
                        cost += _FRAME_COST
                    watches.sent[name] = version
                    count += 1
                    link.send(frame)
                else:
                    watches.behind[name] = None
            self.changes_sent += count
            self._count_sent(count)
            yield cost

    def catch_up(self, connection: SessionConnection, room: FannedRoom) -> None:
        """Send what differs from the version that was sent, if anything does and it may be written."""
        watches, copy = _watches_of(connection), room.roster
        if watches is None or copy is None:
            return
        sent = watches.sent.get(room.name, -1)
        if not 0 <= sent < copy.version:
            watches.behind.pop(room.name, None)
        elif _may_write(connection):
            watches.behind.pop(room.name, None)
            watches.sent[room.name] = copy.version
            self.changes_sent += 1
            self._count_sent(1)
            connection.link.send(copy.frame(sent, MAX_PIECE_BYTES))  # type: ignore[union-attr]
        else:
            watches.behind[room.name] = None

    def drained(self, connection: SessionConnection, messages: int) -> None:
        """The connection's buffer is empty: what is behind may go, one room after another as it stays so.

        messages: that waited, and went.
        """
        self.messages_sent += messages
        watches = _watches_of(connection)
        while watches is not None and watches.behind and _may_write(connection):
            name = next(iter(watches.behind))
            room = self._rooms.get((connection.context.app, name))
            if room is None or room.roster is None:
                del watches.behind[name]
            else:
                self.catch_up(connection, room)

    # -- messages -----------------------------------------------------------------------------------------------------

    def message(self, room: FannedRoom, message: RoomMessage) -> None:
        """A message to the members of the room."""
        size = len(message.message) + _MESSAGE_BYTES
        if self._waiting_bytes + size <= MOST_WAITING_BYTES:
            self._waiting_bytes += size
            self._fan_out(self._send_message(room, message, size))
            return
        dropped = self._dropped.get(room, 0)
        self._dropped[room] = dropped + 1
        if not dropped:
            self._fan_out(self._send_missed(room))

    def _send_missed(self, room: FannedRoom) -> Iterator[int]:
        """To all, whoever each message was for."""
        dropped = self._dropped.pop(room)
        for some in _slices(room.members):
            for connection in some:
                watches = _watches_of(connection)
                if watches is not None:
                    watches.miss(room.name, dropped)
                    self.messages_missed["slow"] += dropped
                    if _may_write(connection):
                        connection.drained()
            yield len(some)

    def give_up(self, watches: RoomWatches) -> None:
        """The connection is gone: what waited for it is missed."""
        self.messages_missed["away"] += watches.give_up()

    def _send_message(self, room: FannedRoom, message: RoomMessage, size: int) -> Iterator[int]:
        self._waiting_bytes -= size
        name, to, sender = room.name, message.to, message.session_id
        data = b""
        for some in _slices(room.members):
            count = 0
            for connection in some:
                context = connection.context
                owner, watches = context.owner, _watches_of(connection)
                if owner is None or watches is None or owner.session_id == sender:
                    continue
                if to and context.participant_id not in to:
                    continue
                data = data or encode_message(message)
                if _may_write(connection) and not watches.is_waiting:
                    count += 1
                    connection.link.send(data)  # type: ignore[union-attr]
                elif not watches.enqueue(name, data):
                    self.messages_missed["slow"] += 1
            self.messages_sent += count
            self._count_sent(count)
            yield len(some)

    # -- turns --------------------------------------------------------------------------------------------------------

    def _fan_out(self, work: Iterator[int]) -> None:
        """At once, as far as this turn of the loop may write; the rest in the next turns. What was begun before goes
        before."""
        self._waiting.append(work)
        if not self._is_turn_due:
            self._is_turn_due = True
            self._loop.call_soon(self._next_turn)
        self._write()

    def _write(self) -> None:
        while self._waiting and self._left_in_turn > 0:
            cost = next(self._waiting[0], None)
            if cost is None:
                self._waiting.popleft()
            else:
                self._left_in_turn -= cost

    def _next_turn(self) -> None:
        self._left_in_turn = _TURN
        self._is_turn_due = bool(self._waiting)
        if self._is_turn_due:
            self._loop.call_soon(self._next_turn)
            self._write()


def _watches_of(connection: SessionConnection) -> RoomWatches | None:
    rooms = connection.context.rooms
    return None if rooms is None else rooms.watches


def _may_write(connection: SessionConnection) -> bool:
    """Whether something can be written at once: the buffer is not full, and the token is good."""
    link = connection.link
    return link is not None and not link.paused and not link.closed and connection.context.state in TAKES_UPDATES


def _slices(connections: Iterable[SessionConnection]) -> Iterator[Sequence[SessionConnection]]:
    """All that are there now, `_SLICE` at a time."""
    everybody = iter(tuple(connections))
    while some := tuple(islice(everybody, _SLICE)):
        yield some
