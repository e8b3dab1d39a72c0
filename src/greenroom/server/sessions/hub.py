"""Who is here: sessions and their connections, and who watches whom. The node's ears on the bus.

Changes are gathered for a tenth of a second, encoded once for each distinct batch, and written to each watcher without
waiting for any.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

import structlog

from greenroom.codes import ErrorCode
from greenroom.core.server.calls import EngineCall, House
from greenroom.core.states import ServerState
from greenroom.core.watching import BATCH_SECONDS, Gatherer, Told, frame, tell
from greenroom.engines.base import Change, Command
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.messages import MAX_PIECE_BYTES, Device
from greenroom.model import PARTITIONS, ParticipantRecord, partition_of
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.sessions.connection import SessionConnection, Subscription
from greenroom.server.sessions.timer_wheel import Wheel

log = structlog.stdlib.get_logger("greenroom.session")
_std_log = logging.getLogger("greenroom.session")

REMEMBER_COMMANDS = 10.0
"""Seconds for which a command for a session that is not here is kept: its attach may be under way."""

_PIECE = MAX_PIECE_BYTES - 1_024
"""What fits into one piece with its frame and commas; more goes the way of what waits."""

_AT_ONCE = 0.002
"""Seconds for which the first change waits for others of the same instant."""

_SLICE = 512
"""Watchers that are told before the loop gets its turn: some 5 ms."""
_DONE = object()

_PORTION = 64
"""Calls to the engine begun, and lost connections dealt with, before the loop gets its turn: some 5 ms."""

_ALL = set(range(PARTITIONS))

Performer = Callable[[SessionConnection, EngineCall], Coroutine[Any, Any, Any]]


class Hub:
    """One for each node. perform: carries a call to the engine out."""

    def __init__(self, house: House, perform: Performer, clocks: Clocks = SYSTEM_CLOCKS) -> None:
        self.house = house
        self.now = clocks.now
        self.wheel = Wheel(clocks.monotonic)
        self.connections: set[SessionConnection] = set()
        """All, also those that have said no hello yet."""
        self.sessions: dict[str, SessionConnection] = {}
        """The connection that holds a session, by the session's id."""
        self.watchers: dict[tuple[str, str], set[SessionConnection]] = {}
        """By application and participant."""
        self.passed_on: dict[tuple[str, str], int] = {}
        """The newest version that watchers were told, of those who are watched (S11)."""
        self.seen: dict[int, int] = {}
        """Newest change heard of each partition (S13)."""
        self.on_joined: Callable[[SessionConnection], None] = lambda _connection: None
        self.on_lost: Callable[[Sequence[int]], None] = lambda _partitions: None
        self.on_command: Callable[[Command], None] = lambda _command: None
        self.on_unwatched: Callable[[str, Sequence[str]], None] = lambda _app, _ids: None
        self.on_refused: Callable[[str, bool], None] = lambda _reason, _resuming: None
        """An open, or (True) a resume was refused."""
        self.on_left: Callable[[int], None] = lambda _code: None
        self.on_silent: Callable[[float], None] = lambda _seconds: None
        """A connection is dropped that gave no sign of life for so long."""
        self.on_told: Callable[[Sequence[ParticipantRecord]], None] = lambda _records: None
        """The watchers of these were written to."""
        self.messages_received = 0
        self.messages_sent = 0
        self._perform: Performer | None = perform
        self._gatherer = Gatherer()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._paced: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        """What waits for its turn: more came at once than the loop should have in one."""
        self._done_in_turn = 0
        self._recent: dict[str, tuple[float, Command]] = {}
        self._loop = asyncio.get_running_loop()
        self._flush_handle: asyncio.TimerHandle | None = None
        self._flushed_at = -BATCH_SECONDS

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
        while self._tasks or self._paced:
            left = end - self._loop.time()
            if left <= 0:
                break
            if self._tasks:
                await asyncio.wait(tuple(self._tasks), timeout=left)
            await asyncio.sleep(0)
        await self.cancel_tasks()

    async def cancel_tasks(self) -> None:
        """Cancel what is under way and wait for it; what was not begun is not."""
        self._paced.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def pace(self, work: Callable[..., None], *arguments: Any) -> None:
        """At once, or, where thousands come in one turn of the loop, in one of the next, in the order they came."""
        if self._done_in_turn == _PORTION:
            self._paced.append((work, arguments))
            return
        if self._done_in_turn == 0:
            self._loop.call_soon(self._next_turn)
        self._done_in_turn += 1
        work(*arguments)

    def _next_turn(self) -> None:
        # Whatever waits fills this turn before anything new may be done at once: so the order is kept.
        waiting = min(len(self._paced), _PORTION)
        self._done_in_turn = waiting
        if waiting:
            self._loop.call_soon(self._next_turn)
        for _ in range(waiting):
            work, arguments = self._paced.popleft()
            work(*arguments)

    def stop(self) -> None:
        """No more timers."""
        self.wheel.stop()
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    def mute(self) -> None:
        """Nothing that happens from now on reaches the engine."""
        self._perform = None

    # -- connections --------------------------------------------------------------------------------------------------

    def arrived(self, connection: SessionConnection) -> None:
        """A WebSocket was opened."""
        self.connections.add(connection)

    def left(self, connection: SessionConnection, code: int) -> None:
        """A WebSocket is gone."""
        self.connections.discard(connection)
        self.on_left(code)
        if not _std_log.isEnabledFor(logging.INFO):
            return  # structlog takes six microseconds to find that out
        machine = connection.machine
        session = machine.owner.session_id if machine.owner is not None else None
        log.info("connection lost", code=code, address=machine.address, session=session)

    def start(self, connection: SessionConnection, number: int, request: EngineCall) -> None:
        """Carry a call out and hand its answer back."""
        self.pace(self._begin, connection, number, request)

    def _begin(self, connection: SessionConnection, number: int, request: EngineCall) -> None:
        if self._perform is not None:
            self.spawn(self._run(self._perform(connection, request), connection, number))

    async def _run(self, work: Coroutine[Any, Any, Any], connection: SessionConnection, number: int) -> None:
        result: Any
        try:
            result = await work
        except GreenroomError as error:
            result = error
        except Exception:
            log.exception("a call to the engine failed")
            result = ServiceUnavailableError(code=ErrorCode.INTERNAL_ERROR)
        connection.answered(number, result)

    def settle(self, connection: SessionConnection) -> None:
        """Put the connection on, or take it off, the list of sessions, as its machine's state says."""
        machine = connection.machine
        owner = machine.owner
        if machine.state is ServerState.GONE:
            if owner is not None and self.sessions.get(owner.session_id) is connection:
                del self.sessions[owner.session_id]
            if connection.subscriptions:
                self.unsubscribe(connection, tuple(connection.subscriptions))
            return
        assert owner is not None
        known = self.sessions.get(owner.session_id)
        if known is connection:
            return
        self.sessions[owner.session_id] = connection
        if known is not None:
            known.superseded(owner.generation)
        self.on_joined(connection)
        recent = self._recent.pop(owner.session_id, None)
        if recent is not None and recent[0] >= self.now().mono:
            self.command(recent[1])

    # -- watching -----------------------------------------------------------------------------------------------------

    def subscribe(self, connection: SessionConnection, app: str, ids: Iterable[str]) -> tuple[str, ...]:
        """Put the connection on the list of watchers. Those for whom the bus has to be asked, and `subscribed` told."""
        fresh = tuple(one for one in ids if one not in connection.subscriptions)
        for one in fresh:
            connection.subscriptions[one] = Subscription.PENDING
            self.watchers.setdefault((app, one), set()).add(connection)
        return fresh

    def subscribed(self, connection: SessionConnection, app: str, ids: Iterable[str]) -> tuple[str, ...]:
        """The bus will tell. Those that nobody wants any more: unwatch them."""
        unwanted = []
        for one in ids:
            if connection.subscriptions.get(one) is Subscription.PENDING:
                connection.subscriptions[one] = Subscription.LIVE
            else:
                unwanted.append(one)
        return tuple(unwanted)

    def unsubscribe(self, connection: SessionConnection, ids: Iterable[str]) -> tuple[str, ...]:
        """Off the list. The bus is told by itself."""
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
            self.on_unwatched(app, live)
        return tuple(live)

    def watched(self, partitions: Iterable[int] | None = None) -> dict[str, list[str]]:
        """Everybody who is watched here, by application; in these partitions, None: in all."""
        wanted = None if partitions is None else set(partitions)
        found: dict[str, list[str]] = {}
        for app, one in self.watchers:
            if wanted is None or partition_of(app, one) in wanted:
                found.setdefault(app, []).append(one)
        return found

    def partitions(self) -> set[int]:
        """In which somebody is watched here."""
        return {partition_of(app, one) for app, one in self.watchers} if len(self.watchers) < 256 else _ALL

    # -- Listener -----------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """A watched participant changed."""
        if self.seen.get(change.partition, 0) < change.id:
            self.seen[change.partition] = change.id
        self.note(change.participant)

    def forget(self, record: ParticipantRecord) -> None:
        """Nothing is stored of the participant any more: those who watch are told."""
        for connection in tuple(self.watchers.get((record.app, record.id), ())):
            connection.forget(record)

    def note(self, record: ParticipantRecord) -> None:
        """Gather a record that was heard of, or read again."""
        if (record.app, record.id) not in self.watchers:
            return
        self._gatherer.changed(record, self._loop.time())
        if self._flush_handle is None:
            # The first change after a quiet time goes at once; a crowd of them waits for the rest of the tenth second.
            rest = self._flushed_at + BATCH_SECONDS - self._loop.time()
            self._flush_handle = self._loop.call_later(max(_AT_ONCE, rest), self._flush)

    def command(self, command: Command) -> None:
        """Another node, or this one, asks for something."""
        if command.kind not in ("superseded", "ended"):
            self.on_command(command)
            return
        connection = self.sessions.get(command.session_id)
        if connection is None:
            self._remember(command)
        elif command.kind == "superseded":
            connection.superseded(command.generation)
        else:
            by = None
            if command.by_device is not None or command.by_device_name is not None:
                by = Device(command.by_device, command.by_device_name)
            connection.ended(command.reason, command.text, by)

    def lost(self, partitions: Sequence[int]) -> None:
        """Changes may have been missed."""
        self.on_lost(partitions)

    def _remember(self, command: Command) -> None:
        at = self.now().mono
        recent = self._recent  # oldest first
        while recent:
            oldest = next(iter(recent))
            if recent[oldest][0] >= at:
                break
            del recent[oldest]
        recent.pop(command.session_id, None)
        recent[command.session_id] = (at + REMEMBER_COMMANDS, command)

    # -- fan-out ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flush_handle = None
        self._flushed_at = self._loop.time()
        records = self._gatherer.take()
        for record in records:
            key = (record.app, record.id)
            if key in self.watchers and self.passed_on.get(key, 0) < record.version:
                self.passed_on[key] = record.version
        if len(records) == 1:
            self._go_on(self._tell_one(records[0]))
        else:
            self._go_on(self._tell_batches(records))
        self.on_told(records)

    def _go_on(self, work: Iterator[None]) -> None:
        """A slice of a fan-out, and the next one after whatever else the loop has to do. What is newer may overtake
        what waits: versions are compared at each watcher (S11)."""
        if next(work, _DONE) is not _DONE:
            self._loop.call_soon(self._go_on, work)

    def _tell_one(self, record: ParticipantRecord) -> Iterator[None]:
        """The case with the most watchers for the least gathered: nothing is made for each of them."""
        item = tell(record)
        data = frame((item,))
        fits = len(item.data) <= _PIECE
        watchers = tuple(self.watchers.get((record.app, record.id), ()))
        for number, connection in enumerate(watchers):
            if number % _SLICE == _SLICE - 1:
                yield
            machine = connection.machine
            held = machine.held if machine.participant_id == record.id else None
            if held is not None and held.participant.version < record.version:
                held.participant = record
            if not fits or not connection.may_write:
                connection.take([item])
            elif machine.watches.is_news(item):
                self.messages_sent += 1
                connection.link.send(data)  # type: ignore[union-attr]

    def _tell_batches(self, records: Sequence[ParticipantRecord]) -> Iterator[None]:
        batches: dict[SessionConnection, list[Told]] = {}
        for record in records:
            watchers = self.watchers.get((record.app, record.id))
            if watchers:
                item = tell(record)
                for connection in watchers:
                    batches.setdefault(connection, []).append(item)
                    if connection.machine.participant_id == record.id and connection.machine.held is not None:
                        connection.machine.held.participant = record
        frames: dict[tuple[int, ...], bytes] = {}
        for number, (connection, items) in enumerate(batches.items()):
            if number % _SLICE == _SLICE - 1:
                yield
            self._deliver(connection, items, frames)

    def _deliver(self, connection: SessionConnection, items: list[Told], frames: dict[tuple[int, ...], bytes]) -> None:
        if not connection.may_write or sum([len(item.data) for item in items]) > _PIECE:
            connection.take(items)
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
        self.messages_sent += 1
        link.send(data)
