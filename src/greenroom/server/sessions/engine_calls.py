"""Carries the requests of sessions to the engine, and sees to what follows from the answers.

An end or a detach that cannot be written now is deferred, and written first when the engine is back (S6).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.commands import Command, EndedCommand, RoomLeftCommand, SupersededCommand
from greenroom.core.requests import (
    Attached,
    AttachRequest,
    DetachRequest,
    EndRequest,
    OpenRequest,
    Owner,
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
from greenroom.errors import GreenroomError, ServiceUnavailableError, SessionEndedError
from greenroom.messages import Device
from greenroom.model import EndReason, ParticipantRecord, SessionRecord
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.measuring import SessionMetrics
from greenroom.server.sessions.room_control import Invitees, RoomControl

log = structlog.stdlib.get_logger("greenroom.session")

LOOKS, LOOK_EVERY = 8, 0.25
"""How often a record that a failover has put back is read again before it is shown, and the seconds in between."""
READ_AT_ONCE = 256
"""Participants in one read of the engine."""

MustWrite = EndRequest | DetachRequest
_NEED_NO_LEASE = frozenset({EndRequest, DetachRequest, UnwatchRequest, UnwatchRooms})
"""What is written later, where the node may not act now; and what the engine is not asked for."""


class SpanMaker(Protocol):
    """What traces opens and resumes (`telemetry.tracing.Tracing`)."""

    async def joining(self, request: OpenRequest | AttachRequest, work: Awaitable[Any]) -> Any:
        """The work, within a span."""


class Lease:
    """By which right this node writes, and until when it may count on it (`cluster.node`).

    clock: seconds that go on during suspend. It is looked at on every call: a machine that wakes up writes nothing,
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
        """It is given back, or has lapsed."""
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
        *,
        node: str,
        lease: Lease,
        metrics: SessionMetrics,
        tracing: SpanMaker | None = None,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self.deferred_writes: deque[MustWrite] = deque()
        """What the engine could not take."""
        self.room_control = RoomControl(engine.rooms, engine.registry, self.notify)
        self._registry = engine.registry
        self._rooms = engine.rooms
        self._bus = engine.bus
        self._hub = hub
        self._node = node
        self._lease = lease
        self._metrics = metrics
        self._tracing = tracing
        self._clock = clocks.monotonic
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
            self._answer_later(connection, number, _fenced())
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
            self._answer_later(connection, number, _fenced())
            return

        def closed(result: Any) -> None:
            if isinstance(result, SessionRecord):
                self.notify_ended((result,), request.reason)
            connection.answered(number, result)

        self._when_done(self._registry.close(request), closed)

    async def take_back(self, owner: Owner, lease: str) -> Owner:
        """The node's own session under its new lease: compare-and-set on the old right (S7). Raises GreenroomError."""
        attached = await self._registry.attach(
            AttachRequest(session_id=owner.session_id, node=self._node, lease=lease, previous=owner)
        )
        session = attached.session
        for room, reason in attached.lost_rooms:
            self._hub.command(
                RoomLeftCommand(session_id=session.id, generation=owner.generation, room=room, reason=reason)
            )
        return Owner(session.id, session.generation, session.lease)

    def _update(self, connection: SessionConnection, number: int, request: UpdateRequest) -> None:
        session = connection.machine.session
        before = 0 if session is None else session.participant.version
        app, participant_id = request.app, request.participant_id
        self._metrics.update_begins(app, participant_id)

        def updated(result: Any) -> None:
            version = None if isinstance(result, GreenroomError) else result.version
            self._metrics.update_ends(app, participant_id, before=before, version=version)
            connection.answered(number, result)

        self._when_done(self._registry.update_participant(request), updated)

    # -- participants -------------------------------------------------------------------------------------------------

    async def read(self, app: str, ids: Sequence[str]) -> list[ParticipantRecord]:
        """The records, in order, from the master."""
        records: list[ParticipantRecord] = []
        for start in range(0, len(ids), READ_AT_ONCE):
            some = ids[start : start + READ_AT_ONCE]
            page = await self._registry.participants(ParticipantQuery(app=app, ids=some, limit=len(some)))
            records += page.items
        return records

    async def _read_whole(
        self, app: str, ids: Sequence[str], known: Mapping[str, int] = MappingProxyType({})
    ) -> list[ParticipantRecord]:
        """As `read`, for a client. A record below the version that was sent to watchers here, or to this client by
        another node (known), was put back by a failover: the node that holds a session of theirs is about to write it
        above that (S11), which is waited for."""
        records = await self.read(app, ids)
        for _ in range(LOOKS):
            passed_on = self._hub.passed_on
            behind = [
                at
                for at, one in enumerate(records)
                if 0 < one.version < max(passed_on.get((app, one.id), 0), known.get(one.id, 0))
            ]
            if not behind:
                break
            await asyncio.sleep(LOOK_EVERY)
            for at, record in zip(behind, await self.read(app, [records[at].id for at in behind]), strict=True):
                records[at] = record
        return records

    def _get(self, connection: SessionConnection, number: int, request: ParticipantQuery) -> None:
        work = self._read_whole(request.app, request.ids or ())
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
            return await self._read_whole(request.app, request.ids, request.known)
        except BaseException:
            self._hub.unsubscribe(connection, fresh)
            raise

    def _unwatch(self, connection: SessionConnection, number: int, request: UnwatchRequest) -> None:
        self._hub.unsubscribe(connection, request.ids)
        self._answer_later(connection, number, None)

    # -- what must be written -----------------------------------------------------------------------------------------

    async def detach(self, owner: Owner, grace: float) -> None:
        """The session has no connection any more; deferred where the engine cannot take it."""
        request = DetachRequest(owner, grace)
        if not self._defer(request):
            await self._try_to_write(request)

    def _write(self, connection: SessionConnection, number: int, request: MustWrite) -> None:
        if self._defer(request):
            self._answer_later(connection, number, None)
            return
        work = self._ask_to_write(request)

        def written(result: Any) -> None:
            if isinstance(result, GreenroomError):
                self._when_done(self._try_to_write(request, work), lambda _: connection.answered(number, None))
            else:
                connection.answered(number, None)

        if isinstance(work, Completion):
            self._when_done(work, written)
        else:
            self._when_done(self._try_to_write(request, work), written)

    def _defer(self, request: MustWrite) -> bool:
        """Whether it has to wait. In order: nothing overtakes what waits."""
        if self._lease.current() is not None and not self.deferred_writes:
            return False
        self.deferred_writes.append(request)
        return True

    def _ask_to_write(self, request: MustWrite) -> Awaitable[Any]:
        if isinstance(request, DetachRequest):
            return self._registry.detach(request.owner, request.grace)
        return self._registry.close(request)

    async def _try_to_write(self, request: MustWrite, work: Awaitable[Any] | None = None) -> bool:
        """False where it was deferred. work: under way already."""
        assert request.owner is not None
        session = request.owner.session_id
        try:
            await self._finish_write(request, self._ask_to_write(request) if work is None else work)
        except ServiceUnavailableError as error:
            log.info("write deferred", request=type(request).__name__, session=session, error=error.message)
            self.deferred_writes.append(request)
            return False
        except GreenroomError as error:
            # Another connection owns it, or it has ended: it is not ours to write any more.
            log.debug("write no longer needed", session=session, error=error.message)
        return True

    async def _finish_write(self, request: MustWrite, work: Awaitable[Any]) -> None:
        try:
            await work
        except SessionEndedError as error:
            lease = self._lease.current()
            superseded = error.code is ErrorCode.ATTEMPT_SUPERSEDED
            if not superseded or isinstance(request, DetachRequest) or request.owner is None:
                raise
            if lease is None:
                raise _fenced() from error
            # Detached meanwhile, with the lease it was held under: take it back, so that the end is ours to write.
            await self._registry.close(replace(request, owner=await self.take_back(request.owner, lease)))

    async def write_deferred(self) -> None:
        """The engine is back: write what was deferred, before anything else."""
        for _ in range(len(self.deferred_writes)):
            if not await self._try_to_write(self.deferred_writes.popleft()):
                return

    # -- rooms --------------------------------------------------------------------------------------------------------

    def _join_room(self, connection: SessionConnection, number: int, request: JoinRoom) -> None:
        """Subscribe, then join: what is sent to members from then on is received."""
        rooms = self._hub.rooms
        held = rooms.acquire(request.app, (request.room,))

        room, has_copy = held[0], held[0].has_copy
        if has_copy:
            request = replace(request, limit=1)  # the node has it

        def joined(result: Any) -> None:
            if not (isinstance(result, Roster) and has_copy and watches()):
                answered(result)
            elif (found := rooms.answer_to_join(room, result)) is not None:
                answered(found)
            else:
                self._when_done(rooms.late_answer_to_join(room, result), answered)

        def answered(result: Any) -> None:
            if isinstance(result, Roster) and not has_copy and watches():
                rooms.took(room, result)
            connection.answered(number, result)
            rooms.release(held)

        def watches() -> bool:
            found = connection.machine.rooms
            return found is not None and request.room in found.watches.sent

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

    # -- commands to nodes --------------------------------------------------------------------------------------------

    def _notify_displaced(self, attached: Attached, by: Device) -> None:
        displaced = attached.displaced
        if displaced is not None:
            self.notify(
                displaced.node,
                SupersededCommand(session_id=displaced.session_id, generation=displaced.generation),
            )
        if attached.replaced:
            self._metrics.replaced(len(attached.replaced))
            self.notify_ended(attached.replaced, EndReason.REPLACED, by=by)

    def notify_ended(
        self, sessions: Iterable[SessionRecord], reason: EndReason, text: str = "", *, by: Device | None = None
    ) -> None:
        """Sessions were ended: the nodes that hold them are notified. sessions: as they were while owned."""
        for session in sessions:
            if session.node:
                command = EndedCommand(
                    session_id=session.id,
                    generation=session.generation,
                    reason=reason,
                    text=text,
                    by_device=None if by is None else by.id,
                    by_device_name=None if by is None else by.name,
                )
                self.notify(session.node, command)

    def notify(self, node: str, command: Command) -> None:
        """The node gets the command, where nothing is lost on the way; this one at once."""
        if node == self._node:
            self._hub.command(command)
        elif node:
            self._hub.spawn(self._send_command(node, command))

    async def notify_all(self, command: Command) -> None:
        """Every node, this one too."""
        await self._send_command("*", command)

    async def _send_command(self, node: str, command: Command) -> None:
        try:
            await self._bus.send(node, command)
        except GreenroomError as error:
            # Allowed to be lost: every node compares by itself (S7).
            log.info("a command was not sent", kind=type(command).__name__, node=node, error=error.message)


def _fenced() -> ServiceUnavailableError:
    return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)
