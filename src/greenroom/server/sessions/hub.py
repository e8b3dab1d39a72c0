"""Connections, sessions and watch subscriptions of this node.

What can go wrong, and which rule prevents it
---------------------------------------------

*One watched participant has ten thousand watchers.* To encode an update for each of them would hold up everybody else.
An update is encoded once, written to each watcher without waiting for any, and after 512 watchers the loop gets its
turn. What a newer fan-out overtakes is dropped at the watcher, which compares versions (S11).

*A crash ends five thousand sessions in one second.* Five thousand messages to each watcher would be worse than the
crash. Between two batches of changes is a pause of 20 ms, or as long as the last fan-out took; of each participant only
the newest is sent, and the same batch is encoded once for all who watch the same participants. The first change after a
quiet time does not wait.

*A watcher reads slowly.* Nothing is written to a connection whose buffer is full: its updates wait, the newest of each
participant, and go in pieces as the buffer empties. Memory for each connection is bounded by what it watches.

*A change happens between subscribing and reading.* The connection is on the list of watchers before the bus is asked,
and the bus before the records are read. What is received meanwhile is held until the reply is written (S12). A
subscription is PENDING until the bus has confirmed it: a connection that unwatches, or goes, in between is found to be
unwanted when the confirmation comes, and is unsubscribed again.

*A command overtakes the answer it is about.* `session.open` may be under way on this node while another node ends the
very session it makes. A command for a session that is not here is remembered for ten seconds and carried out when the
session joins.

*Two connections of one session are on this node.* The list holds one connection for each session, the last that was
attached. The one before is superseded, and when it goes it takes off the list only itself.

*Thousands of clients come or go in one instant.* Their calls to the engine and their detaches are begun 64 in one turn
of the loop, in the order in which they came, so that pings and other clients are served in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Protocol

import structlog

from greenroom.core.commands import Command, NodeCommand, RoomCommand, SessionCommand, SupersededCommand
from greenroom.core.server.services import Now, SessionServices
from greenroom.core.states import ServerState
from greenroom.core.watching import EncodedUpdate, UpdateBatcher, encode_update, frame
from greenroom.engines.base import Bus, Change
from greenroom.engines.completion import READY
from greenroom.engines.rooms import RoomMessage, Rooms, RosterChange
from greenroom.errors import GreenroomError
from greenroom.messages import MAX_PIECE_BYTES, Device
from greenroom.model import PARTITIONS, ParticipantRecord, partition_of
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.sessions.connection import SessionConnection, Subscription
from greenroom.server.sessions.measuring import SessionMetrics
from greenroom.server.sessions.rooms import NodeRooms
from greenroom.server.wire.timer_wheel import TimerWheel

log = structlog.stdlib.get_logger("greenroom.session")
_std_log = logging.getLogger("greenroom.session")

REMEMBER_COMMANDS = 10.0
"""Seconds for which a command for a session that is not here is kept: its attach may be under way."""
COMMANDS_REMEMBERED = 40
"""For one session, the latest: as many rooms as it may be in, and invitations that it may have, and some."""

_PIECE = MAX_PIECE_BYTES - 1_024
"""What fits into one piece with its frame and commas; more goes the way of what waits."""

_SLICE = 512
"""Watchers that are written to before the loop gets its turn: some 5 ms."""
_DONE = object()

_PORTION = 64
"""Calls to the engine begun, and lost connections handled, before the loop gets its turn: some 5 ms."""

_ALL = set(range(PARTITIONS))


def _slices(watchers: Iterable[SessionConnection]) -> Iterator[Sequence[SessionConnection]]:
    """All that are there now, `_SLICE` at a time."""
    everybody = tuple(watchers)
    for start in range(0, len(everybody), _SLICE):
        yield everybody[start : start + _SLICE]


class HubEvents(Protocol):
    """What the node does about what the hub sees. Every method is quick and does not raise."""

    def session_joined(self, connection: SessionConnection) -> None:
        """A session was attached to a connection of this node."""

    def changes_lost(self, partitions: Sequence[int]) -> None:
        """The bus may have missed changes of these partitions; none given: of all."""

    def command(self, command: NodeCommand) -> None:
        """Another node, or this one, asks for something that is not about one session."""


class Hub:
    """One for each node; the node's listener on the bus."""

    def __init__(
        self,
        services: SessionServices,
        bus: Bus,
        rooms: Rooms,
        *,
        events: HubEvents,
        metrics: SessionMetrics,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self.services = services
        self.metrics = metrics
        self._clock = clocks.monotonic
        self._wall = clocks.wall
        self._bus = bus
        self._events = events
        self.wheel = TimerWheel(clocks.monotonic)
        self.connections: set[SessionConnection] = set()
        """All, also those without a session yet."""
        self.sessions: dict[str, SessionConnection] = {}
        """The connection that holds a session, by the session's id."""
        self.watchers: dict[tuple[str, str], set[SessionConnection]] = {}
        """By application and participant."""
        self.passed_on: dict[tuple[str, str], int] = {}
        """The newest version that was sent to watchers, of those who are watched (S11)."""
        self.seen: dict[int, int] = {}
        """Newest change received of each partition (S13)."""
        self.received = self.sent = 0
        """Messages of all connections since the start."""
        self._batcher = UpdateBatcher()
        self.rooms = NodeRooms(self, bus, rooms, clock=self._clock, messages_sent=self.messages_sent)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._deferred: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        """What waits for its turn: more came at once than the loop should have in one."""
        self._begun_in_turn = 0
        self._recent: dict[str, tuple[float, list[SessionCommand | RoomCommand]]] = {}
        self._loop = asyncio.get_running_loop()
        self._flush_handle: asyncio.TimerHandle | None = None

    # -- tasks --------------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it; the hub owns it until it is done."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle_tasks(self, seconds: float) -> None:
        """Wait for what is under way, at most so long; then cancel the rest."""
        end = self._loop.time() + seconds
        while self._tasks or self._deferred:
            left = end - self._loop.time()
            if left <= 0:
                break
            if self._tasks:
                await asyncio.wait(tuple(self._tasks), timeout=left)
            await asyncio.sleep(0)
        await self.cancel_tasks()

    async def cancel_tasks(self) -> None:
        """Cancel what is under way and wait for it; what was not begun is not."""
        self._deferred.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def defer(self, work: Callable[..., None], *arguments: Any) -> None:
        """At once, or, where thousands come in one turn of the loop, in one of the next, in the order they came."""
        if self._begun_in_turn == _PORTION:
            self._deferred.append((work, arguments))
            return
        if self._begun_in_turn == 0:
            self._loop.call_soon(self._next_turn)
        self._begun_in_turn += 1
        work(*arguments)

    @property
    def deferred(self) -> int:
        """How much waits for its turn."""
        return len(self._deferred)

    def _next_turn(self) -> None:
        # Whatever waits fills this turn before anything new may be done at once: so the order is kept.
        waiting = min(len(self._deferred), _PORTION)
        self._begun_in_turn = waiting
        if waiting:
            self._loop.call_soon(self._next_turn)
        for _ in range(waiting):
            work, arguments = self._deferred.popleft()
            work(*arguments)

    def stop(self) -> None:
        """No more timers."""
        self.wheel.stop()
        self.rooms.stop()
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    # -- connections --------------------------------------------------------------------------------------------------

    def arrived(self, connection: SessionConnection) -> None:
        """A WebSocket was opened."""
        self.connections.add(connection)

    def left(self, connection: SessionConnection, code: int) -> None:
        """A WebSocket is gone."""
        self.connections.discard(connection)
        self.metrics.connection_lost(code)
        if not _std_log.isEnabledFor(logging.INFO):
            return  # structlog takes six microseconds to find that out
        machine = connection.machine
        session = machine.owner.session_id if machine.owner is not None else None
        log.info("connection lost", code=code, address=machine.address, session=session)

    def message_received(self) -> Now:
        """Counts it. Both clocks."""
        self.received += 1
        return Now(self._clock(), self._wall())

    def messages_sent(self, count: int) -> None:
        """Counts them."""
        self.sent += count

    def now(self) -> Now:
        """Both clocks."""
        return Now(self._clock(), self._wall())

    def settle(self, connection: SessionConnection, sent: int) -> None:
        """Put the connection on, or take it off, the list of sessions, as its machine's state says. sent: messages that
        were sent to it since the last time."""
        self.sent += sent
        machine = connection.machine
        owner = machine.owner
        if machine.state is ServerState.GONE:
            if owner is not None and self.sessions.get(owner.session_id) is connection:
                del self.sessions[owner.session_id]
            if connection.subscriptions:
                self.unsubscribe(connection, tuple(connection.subscriptions))
            return
        if owner is None:
            return
        known = self.sessions.get(owner.session_id)
        if known is connection:
            return
        self.sessions[owner.session_id] = connection
        if known is not None:
            known.superseded(owner.generation)
        self._events.session_joined(connection)
        recent = self._recent.pop(owner.session_id, None)
        if recent is not None and recent[0] >= self.now().mono:
            for command in recent[1]:
                self.command(command)

    # -- watching -----------------------------------------------------------------------------------------------------

    def subscribe(
        self, connection: SessionConnection, app: str, ids: Iterable[str]
    ) -> tuple[str, ...] | Coroutine[Any, Any, tuple[str, ...]]:
        """Changes made from now on will be received. The ids that were not subscribed to before; a coroutine of them
        where the bus has to be waited for: it raises GreenroomError where the bus cannot be reached; then none is."""
        if connection.machine.state is ServerState.GONE:
            return ()
        fresh = tuple([one for one in ids if one not in connection.subscriptions])
        if not fresh:
            return ()
        watching = self._bus.watch(app, fresh)
        found = Subscription.LIVE if watching is READY else Subscription.PENDING
        for one in fresh:
            connection.subscriptions[one] = found
            watchers = self.watchers.get((app, one))
            if watchers is None:
                self.watchers[app, one] = {connection}
            else:
                watchers.add(connection)
        return fresh if watching is READY else self._confirm(connection, app, fresh, watching)

    async def _confirm(
        self, connection: SessionConnection, app: str, fresh: tuple[str, ...], watching: Awaitable[None]
    ) -> tuple[str, ...]:
        try:
            await watching
        except BaseException:
            self.unsubscribe(connection, fresh)
            raise
        unwanted = []
        for one in fresh:
            if connection.subscriptions.get(one) is Subscription.PENDING:
                connection.subscriptions[one] = Subscription.LIVE
            else:
                unwanted.append(one)
        if unwanted:
            await self._bus.unwatch(app, unwanted)
        return fresh

    def unsubscribe(self, connection: SessionConnection, ids: Iterable[str]) -> None:
        """Off the list of watchers, and unsubscribed at the bus."""
        app = connection.machine.app
        live = []
        for one in ids:
            if connection.subscriptions.pop(one, None) is Subscription.LIVE:
                live.append(one)
            watchers = self.watchers.get((app, one))
            if watchers is not None:
                watchers.discard(connection)
                if not watchers:
                    del self.watchers[(app, one)]
                    self.passed_on.pop((app, one), None)
        if live:
            unwatching = self._bus.unwatch(app, live)
            if unwatching is not READY:
                self.spawn(self._unwatch(unwatching))

    async def _unwatch(self, unwatching: Awaitable[None]) -> None:
        try:
            await unwatching
        except GreenroomError as error:
            log.info("unwatch failed", error=error.message)

    def watched(self, partitions: Iterable[int] | None = None) -> dict[str, list[str]]:
        """Everybody who is watched here, by application; in these partitions, None: in all."""
        wanted = None if partitions is None else set(partitions)
        found: dict[str, list[str]] = {}
        for app, one in self.watchers:
            if wanted is None or partition_of(app, one) in wanted:
                found.setdefault(app, []).append(one)
        return found

    def partitions(self) -> set[int]:
        """Partitions of the participants that are watched here. Changes of rooms have no part in S13: the bus compares
        their versions."""
        return {partition_of(app, one) for app, one in self.watchers} if len(self.watchers) < 256 else _ALL

    # -- Listener -----------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """A watched participant changed."""
        if self.seen.get(change.partition, 0) < change.id:
            self.seen[change.partition] = change.id
        self.note(change.participant)

    def room_changed(self, change: RosterChange) -> None:
        """The roster of a watched room changed."""
        if self.seen.get(change.partition, 0) < change.id:
            self.seen[change.partition] = change.id
        self.rooms.changed(change)

    def room_message(self, message: RoomMessage) -> None:
        """A message to the members of a room."""
        self.rooms.message(message)

    def forget(self, record: ParticipantRecord) -> None:
        """Nothing is stored of the participant any more: watchers are sent that."""
        for connection in tuple(self.watchers.get((record.app, record.id), ())):
            connection.forget(record)

    def note(self, record: ParticipantRecord) -> None:
        """A record that was received, or read again, is to be sent to its watchers."""
        if (record.app, record.id) not in self.watchers:
            return
        self._batcher.changed(record)
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_later(self._batcher.wait(self._clock()), self._flush)

    def command(self, command: Command) -> None:
        """Another node, or this one, asks for something."""
        if not isinstance(command, SessionCommand | RoomCommand):
            self._events.command(command)
            return
        connection = self.sessions.get(command.session_id)
        if connection is None:
            self._remember(command)
        elif isinstance(command, RoomCommand):
            if not connection.about_room(command):
                self._remember(command)  # about a generation that is being attached
        elif isinstance(command, SupersededCommand):
            connection.superseded(command.generation)
        else:
            by = None
            if command.by_device is not None or command.by_device_name is not None:
                by = Device(command.by_device, command.by_device_name)
            connection.ended(command.reason, command.text, by)

    def lost(self, partitions: Sequence[int]) -> None:
        """Changes may have been missed."""
        self._events.changes_lost(partitions)

    def _remember(self, command: SessionCommand | RoomCommand) -> None:
        at = self.now().mono
        recent = self._recent  # oldest first
        while recent:
            oldest = next(iter(recent))
            if recent[oldest][0] >= at:
                break
            del recent[oldest]
        _, commands = recent.pop(command.session_id, (0.0, []))
        recent[command.session_id] = (at + REMEMBER_COMMANDS, [*commands[1 - COMMANDS_REMEMBERED :], command])

    # -- fan-out ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flush_handle = None
        records = self._batcher.drain(self._clock())
        for record in records:
            key = (record.app, record.id)
            if key in self.watchers and self.passed_on.get(key, 0) < record.version:
                self.passed_on[key] = record.version
        if len(records) == 1:
            self._fan_out(self._send_one(records[0]))
        else:
            self._fan_out(self._send_batches(records))
        self.metrics.updates_sent(records)

    def _fan_out(self, work: Iterator[None]) -> None:
        """A slice of a fan-out, and the next one after whatever else the loop has to do. What is newer may overtake
        what waits: versions are compared at each watcher (S11)."""
        begun = self._clock()
        if next(work, _DONE) is not _DONE:
            self._loop.call_soon(self._fan_out, work)
        ended = self._clock()
        self._batcher.took(ended - begun, ended)

    def _send_one(self, record: ParticipantRecord) -> Iterator[None]:
        """The case with the most watchers for the least news: nothing is made for each of them."""
        item = encode_update(record)
        data = frame((item,))
        fits = len(item.data) <= _PIECE
        own = record.id
        for some in _slices(self.watchers.get((record.app, own), ())):
            sent = 0
            for connection in some:
                machine, link = connection.machine, connection.link
                watches = machine.watches
                if machine.participant_id == own:
                    machine.participant_changed(record)
                # `connection.may_write`, without the call.
                if (
                    fits and link is not None and not link.paused and not watches.waiting
                    and (machine.state is ServerState.OPEN or machine.state is ServerState.FENCED)
                ):  # fmt: skip
                    if watches.is_news(item):
                        sent += 1
                        link.send(data)
                else:
                    connection.enqueue([item])
            self.sent += sent
            yield

    def _send_batches(self, records: Sequence[ParticipantRecord]) -> Iterator[None]:
        batches: dict[SessionConnection, list[EncodedUpdate]] = {}
        for record in records:
            watchers = self.watchers.get((record.app, record.id))
            if watchers:
                item = encode_update(record)
                for connection in watchers:
                    batches.setdefault(connection, []).append(item)
                    if connection.machine.participant_id == record.id:
                        connection.machine.participant_changed(record)
        frames: dict[tuple[int, ...], bytes] = {}
        for some in _slices(batches):
            for connection in some:
                self._deliver(connection, batches[connection], frames)
            yield

    def _deliver(
        self, connection: SessionConnection, items: list[EncodedUpdate], frames: dict[tuple[int, ...], bytes]
    ) -> None:
        if not connection.may_write or sum([len(item.data) for item in items]) > _PIECE:
            connection.enqueue(items)
            return
        is_news = connection.machine.watches.is_news
        items = [item for item in items if is_news(item)]
        link = connection.link
        if not items or link is None:
            return
        key = tuple([id(item) for item in items])
        data = frames.get(key)
        if data is None:
            data = frames[key] = frame(items)
        self.sent += 1
        link.send(data)
