"""Carries the requests of sessions to the engine, and sees to what follows from the answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.commands import SupersededCommand
from greenroom.core.requests import (
    Attached,
    AttachRequest,
    DetachRequest,
    EndRequest,
    OpenRequest,
    ParticipantQuery,
    RefreshRequest,
    SessionRequest,
    UnwatchRequest,
    UpdateRequest,
    WatchRequest,
)
from greenroom.core.rooms.requests import (
    AnswerInvitation,
    CreateRoom,
    InviteParticipants,
    JoinRoom,
    KickMember,
    LeaveRoom,
    RoomQuery,
    RoomRequest,
    Roster,
    RosterQuery,
    SendMessage,
    UnwatchRooms,
    WatchRooms,
)
from greenroom.engines.base import Engine
from greenroom.engines.completion import Completion
from greenroom.engines.paging import read_participants
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.messages import Device
from greenroom.model import EndReason, ParticipantRecord, SessionRecord
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.measuring import SessionMetrics
from greenroom.server.sessions.node_commands import NodeCommands
from greenroom.server.sessions.room_control import Invitees, RoomControl
from greenroom.server.sessions.session_writes import MustWrite, SessionWrites, fenced

log = structlog.stdlib.get_logger("greenroom.session")

LOOKS, LOOK_EVERY = 8, 0.25
"""How often a record that a failover has put back is read again before it is shown, and the seconds in between."""

VERSION_MARGIN = 86_400.0
"""Seconds by which a version may be ahead of this node's clock. Beyond it no client can have it from us."""

_NEED_NO_LEASE = frozenset({EndRequest, DetachRequest, UnwatchRequest, UnwatchRooms})
"""What is written later, where the node may not act now; and what the engine is not asked for."""


class SpanMaker(Protocol):
    """What traces opens and resumes (`telemetry.tracing.Tracing`)."""

    async def joining(self, request: OpenRequest | AttachRequest, work: Awaitable[Any]) -> Any:
        """The work, within a span."""


class Lease:
    """By which right this node writes, and until when it may count on it (`cluster.node`).

    clock: seconds that continue during suspend. It is looked at on every call: a machine that wakes up writes nothing,
    though no timer has fired yet.
    """

    __slots__ = ("_clock", "good_until", "id")

    def __init__(self, lease_id: str, clock: Callable[[], float]) -> None:
        self.id = lease_id
        self.good_until = 0.0
        """On that clock."""
        self._clock = clock

    def current(self) -> str | None:
        """The lease to write under; None while the node must not act."""
        return self.id if self._clock() < self.good_until else None

    def renewed(self, good_until: float) -> None:
        """The engine stored a renewal."""
        self.good_until = good_until

    def ended(self) -> None:
        """The lease was released, or has expired."""
        self.good_until = min(self.good_until, self._clock())

    def replaced(self, lease_id: str) -> None:
        """The node has another one, which is still to be stored."""
        self.id = lease_id


class EngineCalls:
    """One for each node.

    node: its name. tracing: None is none.
    """

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        writes: SessionWrites,
        commands: NodeCommands,
        *,
        node: str,
        lease: Lease,
        metrics: SessionMetrics,
        tracing: SpanMaker | None = None,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self.room_control = RoomControl(engine.rooms, engine.registry, commands.notify)
        self._registry = engine.registry
        self._rooms = engine.rooms
        self._hub = hub
        self._writes = writes
        self._commands = commands
        self._node = node
        self._lease = lease
        self._metrics = metrics
        self._tracing = tracing
        self._clock = clocks.monotonic
        self._wall = clocks.wall
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[Completion[Any]] = deque()
        """Calls without a task of their own; some of them are done."""
        self._muted = False
        self._begin: dict[type, Callable[[SessionConnection, int, Any], None]] = {
            OpenRequest: self._open,
            AttachRequest: self._resume,
            EndRequest: self._end,
            DetachRequest: self._write,
            RefreshRequest: self._refresh,
            UpdateRequest: self._update,
            ParticipantQuery: self._get,
            WatchRequest: self._watch,
            UnwatchRequest: self._unwatch,
            JoinRoom: self._join_room,
            WatchRooms: self._watch_rooms,
            UnwatchRooms: self._unwatch_rooms,
        }
        # What needs nothing but the engine, and the reply.
        self._about_rooms: dict[type, Callable[[Any], Awaitable[Any]]] = {
            CreateRoom: self._rooms.create,
            LeaveRoom: self._rooms.leave,
            RosterQuery: self._rooms.roster,
            RoomQuery: self._rooms.rooms,
            SendMessage: self._rooms.send,
            KickMember: self.room_control.moderate,
            InviteParticipants: self._invite,
            AnswerInvitation: self.room_control.answer,
        }

    def start(self, connection: SessionConnection, number: int, request: SessionRequest | RoomRequest) -> None:
        """Carry a call out, and hand its answer to the connection: later, never before this has returned."""
        if self._muted:
            return
        kind, lease = type(request), self._lease.current()
        if lease is None and kind not in _NEED_NO_LEASE:
            self._answer_later(connection, number, fenced())
            return
        if kind is OpenRequest or kind is AttachRequest:
            request = replace(request, node=self._node, lease=lease)
        begin = self._begin.get(kind)
        if begin is not None:
            begin(connection, number, request)
        else:
            self._when_done(self._about_rooms[kind](request), lambda result: connection.answered(number, result))

    @property
    def under_way(self) -> int:
        """How many calls without a task wait for the engine: its queue, as far as sessions fill it."""
        under_way = self._under_way
        while under_way and under_way[0].done:
            under_way.popleft()
        return len(under_way)

    def mute(self) -> None:
        """Nothing that happens from now on reaches the engine."""
        self._muted = True

    async def settle(self, seconds: float) -> None:
        """Wait for what is under way, at most so long; then cancel the rest."""
        end = self._loop.time() + seconds
        await self._hub.settle_tasks(seconds)
        while not all(one.done for one in self._under_way) and self._loop.time() < end:  # noqa: ASYNC110 - only here
            await asyncio.sleep(0.001)
        await self._hub.settle_tasks(max(0.0, end - self._loop.time()))

    def _when_done(self, work: Awaitable[Any], done: Callable[[Any], None]) -> None:
        """Calls ``done`` with the result, or with the GreenroomError: without a task where the engine needs none."""
        if not isinstance(work, Completion):
            self._hub.spawn(self._wait(work, done))
            return
        under_way = self._under_way
        under_way.append(work)
        while under_way and under_way[0].done:
            under_way.popleft()
        work.then(done)

    async def _wait(self, work: Awaitable[Any], done: Callable[[Any], None]) -> None:
        try:
            result = await work
        except GreenroomError as error:
            result = error
        except Exception:
            log.exception("a call to the engine failed")
            result = ServiceUnavailableError(code=ErrorCode.INTERNAL_ERROR)
        done(result)

    def _answer_later(self, connection: SessionConnection, number: int, result: Any) -> None:
        self._loop.call_soon(connection.answered, number, result)

    # -- sessions -----------------------------------------------------------------------------------------------------

    def _open(self, connection: SessionConnection, number: int, request: OpenRequest) -> None:
        began = self._clock()
        hub, ids = self._hub, (request.participant_id,)

        def opened(result: Any) -> None:
            if isinstance(result, GreenroomError):
                hub.unsubscribe(connection, ids)
            elif result.displaced is not None or result.replaced:
                self._notify_displaced(result, Device(request.device_id, request.device_name))
            connection.answered(number, result)
            if not isinstance(result, GreenroomError):
                self._metrics.joined(self._clock() - began, resuming=False)

        subscribing = hub.subscribe(connection, request.app, ids)
        if isinstance(subscribing, tuple):
            work = self._registry.open(request)
        else:
            work = self._open_after(subscribing, request)
        if self._tracing is not None:
            work = self._tracing.joining(request, work)
        self._when_done(work, opened)

    async def _open_after(self, subscribing: Awaitable[Any], request: OpenRequest) -> Attached:
        await subscribing
        return await self._registry.open(request)

    def _resume(self, connection: SessionConnection, number: int, request: AttachRequest) -> None:
        began = self._clock()

        def resumed(result: Any) -> None:
            if not isinstance(result, GreenroomError):
                if result.displaced is not None:
                    self._notify_displaced(result, Device())
                self._metrics.joined(self._clock() - began, resuming=True)
            connection.answered(number, result)

        work = self._registry.attach(request)
        if self._tracing is not None:
            work = self._tracing.joining(request, work)
        self._when_done(work, resumed)

    def _refresh(self, connection: SessionConnection, number: int, request: RefreshRequest) -> None:
        work = self._registry.refresh(request.owner, request.token, request.leave)
        self._when_done(work, lambda result: connection.answered(number, result))

    def _end(self, connection: SessionConnection, number: int, request: EndRequest) -> None:
        if request.owner is not None:
            self._write(connection, number, request)
            return
        if self._lease.current() is None:
            self._answer_later(connection, number, fenced())
            return

        def closed(result: Any) -> None:
            if isinstance(result, SessionRecord):
                self._commands.notify_ended((result,), request.reason)
            connection.answered(number, result)

        self._when_done(self._registry.close(request), closed)

    def _update(self, connection: SessionConnection, number: int, request: UpdateRequest) -> None:
        session = connection.context.session
        before = 0 if session is None else session.participant.version
        app, participant_id = request.app, request.participant_id
        self._metrics.update_begins(app, participant_id)

        def updated(result: Any) -> None:
            version = None if isinstance(result, GreenroomError) else result.version
            self._metrics.update_ends(app, participant_id, before=before, version=version)
            connection.answered(number, result)

        self._when_done(self._registry.update_participant(request), updated)

    # -- participants -------------------------------------------------------------------------------------------------

    async def _read_whole(
        self,
        connection: SessionConnection,
        app: str,
        ids: Sequence[str],
        known: Mapping[str, int] = MappingProxyType({}),
    ) -> list[ParticipantRecord]:
        """As `read_participants`, for a client. A record below the version that was sent to watchers here, or to this
        client by another node (known), was put back by a failover: the node that holds a session of theirs is about to
        write it above that (S11), which is waited for. One of which nothing is stored any more nobody writes: it gets a
        version above what the client holds."""
        records = await read_participants(self._registry, app, ids)
        for _ in range(LOOKS):
            passed_on = self._hub.fan_out.passed_on
            behind = [
                at
                for at, one in enumerate(records)
                if 0 < one.version < max(passed_on.get((app, one.id), 0), known.get(one.id, 0))
            ]
            if not behind:
                break
            await asyncio.sleep(LOOK_EVERY)
            again = await read_participants(self._registry, app, [records[at].id for at in behind])
            for at, record in zip(behind, again, strict=True):
                records[at] = record
        self._replace_forgotten(connection, records, known)
        return records

    def _replace_forgotten(
        self, connection: SessionConnection, records: list[ParticipantRecord], known: Mapping[str, int]
    ) -> None:
        sent = connection.context.watches.sent
        highest = int(self._wall() + VERSION_MARGIN) * 1_000_000
        for at, record in enumerate(records):
            if not record.version:
                said = known.get(record.id, 0)
                last = max(sent(record.id), said if said < highest else 0)
                if last > 0:
                    records[at] = replace(record, version=last + 1)
                    self._hub.fan_out.note_passed_on(records[at])

    def _get(self, connection: SessionConnection, number: int, request: ParticipantQuery) -> None:
        work = self._read_whole(connection, request.app, request.ids or ())
        self._when_done(work, lambda records: connection.answered(number, records))

    def _watch(self, connection: SessionConnection, number: int, request: WatchRequest) -> None:
        work = self._subscribe_and_read(connection, request)
        self._when_done(work, lambda records: connection.answered(number, records))

    async def _subscribe_and_read(
        self, connection: SessionConnection, request: WatchRequest
    ) -> list[ParticipantRecord]:
        """In this order (S12)."""
        fresh = self._hub.subscribe(connection, request.app, request.ids)
        if not isinstance(fresh, tuple):
            fresh = await fresh
        try:
            return await self._read_whole(connection, request.app, request.ids, request.known)
        except BaseException:
            self._hub.unsubscribe(connection, fresh)
            raise

    def _unwatch(self, connection: SessionConnection, number: int, request: UnwatchRequest) -> None:
        self._hub.unsubscribe(connection, request.ids)
        self._answer_later(connection, number, None)

    # -- what must be written -----------------------------------------------------------------------------------------

    def _write(self, connection: SessionConnection, number: int, request: MustWrite) -> None:
        writes = self._writes
        if writes.defer(request):
            self._answer_later(connection, number, None)
            return
        work = writes.ask(request)

        def written(result: Any) -> None:
            if isinstance(result, GreenroomError):
                self._when_done(writes.write(request, work), lambda _: connection.answered(number, None))
            else:
                connection.answered(number, None)

        if isinstance(work, Completion):
            self._when_done(work, written)
        else:
            self._when_done(writes.write(request, work), written)

    # -- rooms --------------------------------------------------------------------------------------------------------

    def _join_room(self, connection: SessionConnection, number: int, request: JoinRoom) -> None:
        """Subscribe, then join: what is sent to members from then on is received. The roster is asked for where
        the node has no copy of it, nobody else is about to bring one, and the session may see it."""
        rooms = self._hub.rooms
        held = rooms.acquire(request.app, (request.room,))
        room = held[0]

        def watches() -> bool:
            found = connection.context.rooms
            return found is not None and request.room in found.watches.sent

        whole = room.asking == 1 and not room.has_copy and watches()
        if not whole:
            request = replace(request, limit=1, brief=True)

        def joined(result: Any) -> None:
            if whole or not isinstance(result, Roster) or not watches():
                answered(result)
            elif (found := rooms.answer_to_join(room, result)) is not None:
                answered(found)
            else:
                rooms.when_at(room, result.version, partial(at_last, result))

        def at_last(result: Roster) -> None:
            found = rooms.answer_to_join(room, result)
            if found is None:
                self._when_done(rooms.ask(room), answered)
            else:
                answered(found)

        def answered(result: Any) -> None:
            if whole and isinstance(result, Roster) and watches():
                rooms.took(room, result)
            connection.answered(number, result)
            rooms.release(held)

        if room.is_subscribed:
            self._when_done(self._rooms.join(request), joined)
        else:
            self._when_done(self._join_after(rooms.subscribed(held), request), joined)

    async def _join_after(self, subscribing: Awaitable[None], request: JoinRoom) -> Roster:
        await subscribing
        return await self._rooms.join(request)

    def _watch_rooms(self, connection: SessionConnection, number: int, request: WatchRooms) -> None:
        rooms = self._hub.rooms
        held = rooms.acquire(request.app, request.rooms)

        def watched(result: Any) -> None:
            connection.answered(number, result)
            rooms.release(held)

        self._when_done(rooms.read(held, request), watched)

    def _unwatch_rooms(self, connection: SessionConnection, number: int, request: UnwatchRooms) -> None:
        self._answer_later(connection, number, None)

    async def _invite(self, request: InviteParticipants) -> None:
        application = self._hub.services.application(request.app)
        if application is None:
            raise ServiceUnavailableError
        invitees = Invitees(participants=request.invitees, text=request.text)
        await self.room_control.invite(
            application, request.room, invitees, inviter=request.inviter, inviter_name=request.inviter_name
        )

    # -- what others learn of it --------------------------------------------------------------------------------------

    def _notify_displaced(self, attached: Attached, by: Device) -> None:
        displaced = attached.displaced
        if displaced is not None:
            self._commands.notify(
                displaced.node,
                SupersededCommand(session_id=displaced.session_id, generation=displaced.generation),
            )
        if attached.replaced:
            self._metrics.replaced(len(attached.replaced))
            self._commands.notify_ended(attached.replaced, EndReason.REPLACED, by=by)
