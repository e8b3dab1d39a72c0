"""Connections, sessions and watch subscriptions of this node.

What can go wrong, and which rule prevents it
---------------------------------------------

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
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import structlog

from greenroom.core.commands import RoomCommand, SessionCommand, SupersededCommand
from greenroom.core.server.services import Now, SessionServices
from greenroom.core.states import ServerState
from greenroom.engines.base import Bus, Change
from greenroom.engines.completion import READY
from greenroom.engines.rooms import RoomMessage, Rooms, RosterChange
from greenroom.errors import GreenroomError
from greenroom.messages import Device
from greenroom.model import PARTITIONS, partition_of
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.sessions.connection import SessionConnection, Subscription
from greenroom.server.sessions.fan_out import FanOut
from greenroom.server.sessions.measuring import SessionMetrics
from greenroom.server.sessions.rooms import NodeRooms
from greenroom.server.wire.timer_wheel import TimerWheel

log = structlog.stdlib.get_logger("greenroom.session")
_std_log = logging.getLogger("greenroom.session")

REMEMBER_COMMANDS = 10.0
"""Seconds for which a command for a session that is not here is kept: its attach may be under way."""
COMMANDS_REMEMBERED = 40
"""For one session, the latest: as many rooms as it may be in, and invitations that it may have, and some."""

_PORTION = 64
"""Calls to the engine begun, and lost connections handled, before the loop gets its turn: some 5 ms."""

_ALL = set(range(PARTITIONS))


class Hub:
    """One for each node."""

    def __init__(
        self,
        services: SessionServices,
        bus: Bus,
        rooms: Rooms,
        *,
        metrics: SessionMetrics,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self.services = services
        self.metrics = metrics
        self._clock = clocks.monotonic
        self._wall = clocks.wall
        self._bus = bus
        self.wheel = TimerWheel(clocks.monotonic)
        self.connections: set[SessionConnection] = set()
        """All, also those without a session yet."""
        self.sessions: dict[str, SessionConnection] = {}
        """The connection that holds a session, by the session's id."""
        self.watchers: dict[tuple[str, str], set[SessionConnection]] = {}
        """By application and participant."""
        self.seen: dict[int, int] = {}
        """Newest change received of each partition (S13)."""
        self.received = self.sent = 0
        """Messages of all connections since the start."""
        self.fan_out = FanOut(self.watchers, metrics, clock=self._clock, messages_sent=self.messages_sent)
        self.rooms = NodeRooms(self, bus, rooms, clock=self._clock, count_sent=self.messages_sent)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._deferred: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        """What waits for its turn: more came at once than the loop should have in one."""
        self._begun_in_turn = 0
        self._recent: dict[str, tuple[float, list[SessionCommand | RoomCommand]]] = {}
        self._loop = asyncio.get_running_loop()

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
        self.fan_out.stop()

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
        context = connection.context
        session = context.owner.session_id if context.owner is not None else None
        log.info("connection lost", code=code, address=context.address, session=session)

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

    def settle(self, connection: SessionConnection, sent: int) -> bool:
        """Put the connection on, or take it off, the list of sessions, as its session's state says. sent: messages that
        were sent to it since the last time. True where it was put on."""
        self.sent += sent
        context = connection.context
        owner = context.owner
        if context.state is ServerState.GONE:
            if owner is not None and self.sessions.get(owner.session_id) is connection:
                del self.sessions[owner.session_id]
            if connection.subscriptions:
                self.unsubscribe(connection, tuple(connection.subscriptions))
            return False
        if owner is None:
            return False
        known = self.sessions.get(owner.session_id)
        if known is connection:
            return False
        self.sessions[owner.session_id] = connection
        if known is not None:
            known.superseded(owner.generation)
        recent = self._recent.pop(owner.session_id, None)
        if recent is not None and recent[0] >= self.now().mono:
            for command in recent[1]:
                self.command(command)
        return True

    # -- watching -----------------------------------------------------------------------------------------------------

    def subscribe(
        self, connection: SessionConnection, app: str, ids: Iterable[str]
    ) -> tuple[str, ...] | Coroutine[Any, Any, tuple[str, ...]]:
        """Changes made from now on will be received. The ids that were not subscribed to before; a coroutine of them
        where the bus has to be waited for: it raises GreenroomError where the bus cannot be reached; then none is."""
        if connection.context.state is ServerState.GONE:
            return ()
        subscriptions = connection.subscriptions
        fresh = tuple([one for one in ids if one not in subscriptions] if subscriptions else ids)
        if not fresh:
            return ()
        watching = self._bus.watch(app, fresh)
        found = Subscription.LIVE if watching is READY else Subscription.PENDING
        for one in fresh:
            subscriptions[one] = found
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
        app = connection.context.app
        live = []
        for one in ids:
            if connection.subscriptions.pop(one, None) is Subscription.LIVE:
                live.append(one)
            watchers = self.watchers.get((app, one))
            if watchers is not None:
                watchers.discard(connection)
                if not watchers:
                    del self.watchers[(app, one)]
                    self.fan_out.passed_on.pop((app, one), None)
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

    # -- what the bus brings ------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """A watched participant changed."""
        if self.seen.get(change.partition, 0) < change.id:
            self.seen[change.partition] = change.id
        self.fan_out.note(change.participant)

    def counted(self, partition: int, change: int) -> None:
        """A change of the partition was received."""
        if self.seen.get(partition, 0) < change:
            self.seen[partition] = change

    def room_changed(self, change: RosterChange) -> None:
        """The roster of a watched room changed."""
        self.rooms.changed(change)

    def room_message(self, message: RoomMessage) -> None:
        """A message to the members of a room."""
        self.rooms.message(message)

    def command(self, command: SessionCommand | RoomCommand) -> None:
        """Something happened to a session of this node."""
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
