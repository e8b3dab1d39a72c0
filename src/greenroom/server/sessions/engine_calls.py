"""Carries the requests of sessions to the engine, and sees to what follows from the answers.

An end or a detach that cannot be written now is deferred, and written first when the engine is back (S6).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.commands import Command, EndedCommand, SupersededCommand
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
from greenroom.engines.base import Engine
from greenroom.errors import GreenroomError, ServiceUnavailableError, SessionEndedError
from greenroom.messages import Device
from greenroom.model import EndReason, ParticipantRecord, SessionRecord
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.measuring import SessionMetrics

log = structlog.stdlib.get_logger("greenroom.session")

LOOKS, LOOK_EVERY = 8, 0.25
"""How often a record that a failover has put back is read again before it is shown, and the seconds in between."""
READ_AT_ONCE = 256
"""Participants in one read of the engine."""

MustWrite = EndRequest | DetachRequest


class SpanMaker(Protocol):
    """What traces opens and resumes (`telemetry.tracing.Tracing`)."""

    async def joining(self, request: OpenRequest | AttachRequest, work: Coroutine[Any, Any, Any]) -> Any:
        """The work, within a span."""


class EngineCalls:
    """One for each node.

    node: its name. lease: its present lease, None while it may not act. tracing: None is none.
    """

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        *,
        node: str,
        lease: Callable[[], str | None],
        metrics: SessionMetrics,
        tracing: SpanMaker | None = None,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self.deferred_writes: deque[MustWrite] = deque()
        """What the engine could not take."""
        self._registry = engine.registry
        self._bus = engine.bus
        self._hub = hub
        self._node = node
        self._lease = lease
        self._metrics = metrics
        self._tracing = tracing
        self._clock = clocks.monotonic
        self._muted = False

    def start(self, connection: SessionConnection, number: int, request: SessionRequest) -> None:
        """Carry a call out, and hand its answer to the connection."""
        self._hub.defer(self._begin, connection, number, request)

    def mute(self) -> None:
        """Nothing that happens from now on reaches the engine."""
        self._muted = True

    def _begin(self, connection: SessionConnection, number: int, request: SessionRequest) -> None:
        if not self._muted:
            self._hub.spawn(self._answer(connection, number, request))

    async def _answer(self, connection: SessionConnection, number: int, request: SessionRequest) -> None:
        result: Any
        try:
            if self._tracing is not None and isinstance(request, OpenRequest | AttachRequest):
                result = await self._tracing.joining(request, self.perform(connection, request))
            else:
                result = await self.perform(connection, request)
        except GreenroomError as error:
            result = error
        except Exception:
            log.exception("a call to the engine failed")
            result = ServiceUnavailableError(code=ErrorCode.INTERNAL_ERROR)
        connection.answered(number, result)

    async def perform(self, connection: SessionConnection, request: SessionRequest) -> Any:
        """The answer to a request. Raises GreenroomError."""
        if isinstance(request, UnwatchRequest):
            return self._hub.unsubscribe(connection, request.ids)
        if isinstance(request, DetachRequest) or (isinstance(request, EndRequest) and request.owner is not None):
            return await self._write_or_defer(request)
        lease = self._lease()
        if lease is None:
            raise ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)
        match request:
            case OpenRequest():
                return await self._open(connection, replace(request, node=self._node, lease=lease))
            case AttachRequest():
                return await self._resume(replace(request, node=self._node, lease=lease))
            case UpdateRequest():
                return await self._update(connection, request)
            case ParticipantQuery():
                return await self._read_whole(request.app, request.ids or ())
            case WatchRequest():
                return await self._watch(connection, request)
            case RefreshRequest():
                return await self._registry.refresh(request.owner, request.token)
            case EndRequest():
                return await self._close_by_secret(request)

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def _open(self, connection: SessionConnection, request: OpenRequest) -> Attached:
        began = self._clock()
        ids = (request.participant_id,)
        await self._hub.subscribe(connection, request.app, ids)
        try:
            attached = await self._registry.open(request)
        except BaseException:
            self._hub.unsubscribe(connection, ids)
            raise
        if attached.displaced is not None or attached.replaced:
            self._notify_displaced(attached, Device(request.device_id, request.device_name))
        self._metrics.joined(self._clock() - began, resuming=False)
        return attached

    async def _resume(self, request: AttachRequest) -> Attached:
        began = self._clock()
        attached = await self._registry.attach(request)
        if attached.displaced is not None:
            self._notify_displaced(attached, Device())
        self._metrics.joined(self._clock() - began, resuming=True)
        return attached

    async def _close_by_secret(self, request: EndRequest) -> None:
        ended = await self._registry.close(request)
        if ended is not None:
            self.notify_ended((ended,), request.reason)

    async def take_back(self, owner: Owner, lease: str) -> Owner:
        """The node's own session under its new lease: compare-and-set on the old right (S7). Raises GreenroomError."""
        attached = await self._registry.attach(
            AttachRequest(session_id=owner.session_id, node=self._node, lease=lease, previous=owner)
        )
        return Owner(attached.session.id, attached.session.generation, attached.session.lease)

    async def _update(self, connection: SessionConnection, request: UpdateRequest) -> ParticipantRecord:
        session = connection.machine.session
        before = 0 if session is None else session.participant.version
        app, participant_id = request.app, request.participant_id
        self._metrics.update_begins(app, participant_id)
        version = None
        try:
            record = await self._registry.update_participant(request)
            version = record.version
            return record
        finally:
            self._metrics.update_ends(app, participant_id, before=before, version=version)

    # -- participants -------------------------------------------------------------------------------------------------

    async def read(self, app: str, ids: Sequence[str]) -> list[ParticipantRecord]:
        """The records, in order, from the master."""
        records: list[ParticipantRecord] = []
        for start in range(0, len(ids), READ_AT_ONCE):
            some = ids[start : start + READ_AT_ONCE]
            page = await self._registry.participants(ParticipantQuery(app=app, ids=some, limit=len(some)))
            records += page.items
        return records

    async def _read_whole(self, app: str, ids: Sequence[str]) -> list[ParticipantRecord]:
        """As `read`, for a client. A record below the version that was sent to watchers here was put back by a
        failover: the node that holds a session of theirs is about to write it above that (S11), which is waited for."""
        records = await self.read(app, ids)
        for _ in range(LOOKS):
            passed_on = self._hub.passed_on
            behind = [at for at, one in enumerate(records) if 0 < one.version < passed_on.get((app, one.id), 0)]
            if not behind:
                break
            await asyncio.sleep(LOOK_EVERY)
            for at, record in zip(behind, await self.read(app, [records[at].id for at in behind]), strict=True):
                records[at] = record
        return records

    async def _watch(self, connection: SessionConnection, request: WatchRequest) -> list[ParticipantRecord]:
        """Subscribe, then read (S12)."""
        fresh = await self._hub.subscribe(connection, request.app, request.ids)
        try:
            return await self._read_whole(request.app, request.ids)
        except BaseException:
            self._hub.unsubscribe(connection, fresh)
            raise

    # -- what must be written -----------------------------------------------------------------------------------------

    async def detach(self, owner: Owner, grace: float) -> None:
        """The session has no connection any more; deferred where the engine cannot take it."""
        await self._write_or_defer(DetachRequest(owner, grace))

    async def _write_or_defer(self, request: MustWrite) -> None:
        if self._lease() is None or self.deferred_writes:
            # In order: nothing overtakes what waits.
            self.deferred_writes.append(request)
        else:
            await self._try_to_write(request)

    async def _try_to_write(self, request: MustWrite) -> bool:
        """False where it was deferred."""
        assert request.owner is not None
        session = request.owner.session_id
        try:
            await self._write(request)
        except ServiceUnavailableError as error:
            log.info("write deferred", request=type(request).__name__, session=session, error=error.message)
            self.deferred_writes.append(request)
            return False
        except GreenroomError as error:
            # Another connection owns it, or it has ended: it is not ours to write any more.
            log.debug("write no longer needed", session=session, error=error.message)
        return True

    async def _write(self, request: MustWrite) -> None:
        if isinstance(request, DetachRequest):
            await self._registry.detach(request.owner, request.grace)
            return
        lease = self._lease()
        if lease is None:
            raise ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)
        try:
            await self._registry.close(request)
        except SessionEndedError as error:
            if error.code is not ErrorCode.ATTEMPT_SUPERSEDED or request.owner is None:
                raise
            # Detached meanwhile, with the lease it was held under: take it back, so that the end is ours to write.
            await self._registry.close(replace(request, owner=await self.take_back(request.owner, lease)))

    async def write_deferred(self) -> None:
        """The engine is back: write what was deferred, before anything else."""
        for _ in range(len(self.deferred_writes)):
            if not await self._try_to_write(self.deferred_writes.popleft()):
                return

    # -- commands to nodes --------------------------------------------------------------------------------------------

    def _notify_displaced(self, attached: Attached, by: Device) -> None:
        displaced = attached.displaced
        if displaced is not None:
            self._notify(
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
                self._notify(session.node, command)

    def _notify(self, node: str, command: Command) -> None:
        if node == self._node:
            self._hub.command(command)
        elif node:
            self._hub.spawn(self._send_command(node, command))

    async def notify_all(self, command: Command) -> None:
        """Every node, this one too."""
        await self._send_command("*", command)

    async def _send_command(self, node: str, command: Command) -> None:
        try:
            await self._bus.tell(node, command)
        except GreenroomError as error:
            # Allowed to be lost: every node compares by itself (S7).
            log.info("a command was not sent", kind=type(command).__name__, node=node, error=error.message)
