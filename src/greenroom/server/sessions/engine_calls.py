"""Turns the calls of sessions into the engine's requests, and sees to what follows from the answers.

What ends or detaches a session and cannot be written now is kept, and written first when the engine is back (S6).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import structlog

from greenroom.codes import ErrorCode
from greenroom.core.requests import (
    Attached,
    AttachRequest,
    EndRequest,
    OpenRequest,
    Owner,
    ParticipantQuery,
    TokenFacts,
    UpdateRequest,
)
from greenroom.core.server.calls import (
    ClientToken,
    CloseBySecret,
    DetachSession,
    EndSession,
    EngineCall,
    Joined,
    OpenSession,
    Owned,
    ReadParticipants,
    RefreshSession,
    ResumeSession,
    UnwatchParticipants,
    UpdateProfile,
    WatchParticipants,
)
from greenroom.engines.base import Command, Engine
from greenroom.errors import GreenroomError, ServiceUnavailableError, SessionEndedError
from greenroom.model import EndReason, ParticipantRecord, SessionRecord
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.hub import Hub

log = structlog.stdlib.get_logger("greenroom.session")

LOOKS, LOOK_EVERY = 8, 0.25
"""How often a record that a failover has put back is read again before it is shown, and the seconds in between."""
READ_AT_ONCE = 256
"""Participants in one read of the engine."""
_DUTIES = (EndSession, DetachSession)


def owner_of(owned: Owned) -> Owner:
    """The same in the engine's words."""
    return Owner(owned.session_id, owned.generation, owned.lease)


def _facts(token: ClientToken) -> TokenFacts:
    return TokenFacts(jti=token.jti, issued_at=token.issued_at, expires_at=token.expires_at, scopes=token.scopes)


class Desk:
    """One for each node.

    node: its name. lease: its present lease, None while it may not act. grace: seconds a session outlives a
    connection.
    """

    def __init__(self, engine: Engine, *, node: str, lease: Callable[[], str | None], grace: float) -> None:
        self.kept: deque[EndSession | DetachSession] = deque()
        """What the engine could not take."""
        self._registry = engine.registry
        self._bus = engine.bus
        self._node = node
        self._lease = lease
        self._grace = grace
        self._handlers: dict[type, Callable[[SessionConnection, Any], Awaitable[Any]]] = {
            OpenSession: self._open,
            ResumeSession: self._resume,
            CloseBySecret: self._close_by_secret,
            RefreshSession: self._refresh,
            UpdateProfile: self._update,
            ReadParticipants: self._read,
            WatchParticipants: self._watch,
            UnwatchParticipants: self._unwatch,
        }

    async def perform(self, connection: SessionConnection, call: EngineCall) -> Any:
        """The answer to a call. Raises GreenroomError."""
        if isinstance(call, _DUTIES):
            await self._duty(call)
            return None
        return await self._handlers[type(call)](connection, call)

    def attend(self, hub: Hub) -> None:
        """Before anything is performed: the hub that it works for."""
        self._hub = hub
        hub.on_unwatched = self.unwatched

    # -- sessions -----------------------------------------------------------------------------------------------------

    def _acting(self) -> str:
        lease = self._lease()
        if lease is None:
            raise ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)
        return lease

    async def _open(self, connection: SessionConnection, call: OpenSession) -> Joined:
        lease = self._acting()
        await self._listen(connection, call.app, (call.participant_id,))
        try:
            attached = await self._registry.open(
                OpenRequest(
                    app=call.app,
                    participant_id=call.participant_id,
                    external_id=call.external_id,
                    open_id=call.open_id,
                    secret_hash=call.secret_hash,
                    session_id=call.session_id,
                    node=self._node,
                    lease=lease,
                    token=_facts(call.token),
                    name=call.name,
                    avatar_url=call.avatar_url,
                    if_new=call.if_new,
                    may_change_profile=call.may_change_profile,
                    policy=call.policy,
                    max_application_sessions=call.max_application_sessions,
                    device_id=call.device_id,
                    device_name=call.device_name,
                    sdk=call.sdk,
                    address=connection.machine.address,
                    anonymous=call.anonymous,
                    grace=self._grace,
                )
            )
        except BaseException:
            self._hub.unsubscribe(connection, (call.participant_id,))
            raise
        self._after_attach(attached, call.device_id, call.device_name)
        return Joined(attached.session, attached.participant)

    async def _resume(self, connection: SessionConnection, call: ResumeSession) -> Joined:
        token = call.token
        attached = await self._registry.attach(
            AttachRequest(
                session_id=call.session_id,
                node=self._node,
                lease=self._acting(),
                app=None if token is None else token.app,
                participant_id=None if token is None else token.participant_id,
                token=None if token is None else _facts(token),
                secret_hash=call.secret_hash,
                next_secret_hash=call.next_secret_hash,
                attempt=call.attempt,
                address=connection.machine.address,
            )
        )
        self._after_attach(attached, None, None)
        return Joined(attached.session, attached.participant)

    async def take_back(self, owned: Owned, lease: str) -> Owned:
        """The node's own session under its new lease: compare-and-set on the old right (S7). Raises GreenroomError."""
        attached = await self._registry.attach(
            AttachRequest(session_id=owned.session_id, node=self._node, lease=lease, previous=owner_of(owned))
        )
        return Owned(attached.session.id, attached.session.generation, attached.session.lease)

    def _after_attach(self, attached: Attached, device_id: str | None, device_name: str | None) -> None:
        displaced = attached.displaced
        if displaced is not None:
            self._tell(
                displaced.node,
                Command(kind="superseded", session_id=displaced.session_id, generation=displaced.generation),
            )
        if attached.replaced:
            self.tell_ended(attached.replaced, EndReason.REPLACED, by_device=device_id, by_device_name=device_name)

    async def _close_by_secret(self, _connection: SessionConnection, call: CloseBySecret) -> None:
        self._acting()
        ended = await self._registry.close(
            EndRequest(session_id=call.session_id, reason=EndReason.CLOSED, secret_hash=call.secret_hash)
        )
        if ended is not None:
            self.tell_ended((ended,), EndReason.CLOSED)

    async def _refresh(self, _connection: SessionConnection, call: RefreshSession) -> None:
        self._acting()
        await self._registry.refresh(owner_of(call.owner), _facts(call.token))

    async def _update(self, _connection: SessionConnection, call: UpdateProfile) -> ParticipantRecord:
        self._acting()
        return await self._registry.update_participant(
            UpdateRequest(
                app=call.app,
                participant_id=call.participant_id,
                name=call.name,
                avatar_url=call.avatar_url,
                if_revision=call.if_revision,
                owner=owner_of(call.owner),
                update_id=call.update_id,
            )
        )

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
        """As `read`, for a client. A record below the version that was passed on here was put back by a failover: the
        node that holds a session of theirs is about to write it above that (S11), which is waited for."""
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

    async def _read(self, _connection: SessionConnection, call: ReadParticipants) -> list[ParticipantRecord]:
        self._acting()
        return await self._read_whole(call.app, call.ids)

    async def _listen(self, connection: SessionConnection, app: str, ids: Sequence[str]) -> tuple[str, ...]:
        """Subscribe. Those that were not subscribed to before."""
        hub = self._hub
        fresh = () if connection.is_over else hub.subscribe(connection, app, ids)
        if not fresh:
            return ()
        try:
            await self._bus.watch(app, fresh)
        except BaseException:
            hub.unsubscribe(connection, fresh)
            raise
        unwanted = hub.subscribed(connection, app, fresh)
        if unwanted:
            await self._bus.unwatch(app, unwanted)
        return fresh

    async def _watch(self, connection: SessionConnection, call: WatchParticipants) -> list[ParticipantRecord]:
        """Subscribe, then read (S12)."""
        self._acting()
        fresh = await self._listen(connection, call.app, call.ids)
        try:
            return await self._read_whole(call.app, call.ids)
        except BaseException:
            self._hub.unsubscribe(connection, fresh)
            raise

    async def _unwatch(self, connection: SessionConnection, call: UnwatchParticipants) -> None:
        self._hub.unsubscribe(connection, call.ids)

    def unwatched(self, app: str, ids: Sequence[str]) -> None:
        """The hub's: nobody of a connection listens any more."""
        self._hub.spawn(self._unwatch_bus(app, tuple(ids)))

    async def _unwatch_bus(self, app: str, ids: tuple[str, ...]) -> None:
        try:
            await self._bus.unwatch(app, ids)
        except GreenroomError as error:
            log.info("unwatch failed", error=error.message)

    # -- duties -------------------------------------------------------------------------------------------------------

    async def _duty(self, call: EndSession | DetachSession) -> None:
        if self._lease() is None or self.kept:
            # In order: nothing overtakes what waits.
            self.kept.append(call)
            return
        await self._write_or_keep(call)

    async def _write_or_keep(self, call: EndSession | DetachSession) -> bool:
        try:
            await self._write(call)
        except ServiceUnavailableError as error:
            log.info("kept for later", call=type(call).__name__, session=call.owner.session_id, error=error.message)
            self.kept.append(call)
            return False
        except GreenroomError as error:
            # Somebody else owns it, or it has ended: it is not ours to write any more.
            log.debug("not ours any more", session=call.owner.session_id, error=error.message)
        return True

    async def detach(self, owned: Owned, grace: float) -> None:
        """The session has no connection any more; kept where the engine cannot take it."""
        await self._duty(DetachSession(owned, grace))

    async def _write(self, call: EndSession | DetachSession) -> None:
        if isinstance(call, DetachSession):
            await self._registry.detach(owner_of(call.owner), call.grace)
            return
        owner = call.owner
        lease = self._acting()
        try:
            await self._end(owner, call)
        except SessionEndedError as error:
            if error.code is not ErrorCode.ATTEMPT_SUPERSEDED:
                raise
            # Detached meanwhile, with the lease it was held under: take it back, so that the end is ours to write.
            await self._end(await self.take_back(owner, lease), call)

    async def _end(self, owner: Owned, call: EndSession) -> None:
        await self._registry.close(
            EndRequest(session_id=owner.session_id, reason=call.reason, text=call.text, owner=owner_of(owner))
        )

    async def write_kept(self) -> None:
        """The engine is back: write what was kept, first of all."""
        for _ in range(len(self.kept)):
            if not await self._write_or_keep(self.kept.popleft()):
                return

    # -- news ---------------------------------------------------------------------------------------------------------

    def tell_ended(
        self,
        sessions: Iterable[SessionRecord],
        reason: EndReason,
        text: str = "",
        *,
        by_device: str | None = None,
        by_device_name: str | None = None,
    ) -> None:
        """Sessions were ended: the nodes that hold them are told. sessions: as they were while owned."""
        for session in sessions:
            if session.node:
                command = Command(
                    kind="ended",
                    session_id=session.id,
                    generation=session.generation,
                    reason=reason,
                    text=text,
                    by_device=by_device,
                    by_device_name=by_device_name,
                )
                self._tell(session.node, command)

    def _tell(self, node: str, command: Command) -> None:
        if node == self._node:
            self._hub.command(command)
        elif node:
            self._hub.spawn(self._tell_other(node, command))

    async def tell_all(self, command: Command) -> None:
        """Every node, this one too."""
        await self._tell_other("*", command)

    async def _tell_other(self, node: str, command: Command) -> None:
        try:
            await self._bus.tell(node, command)
        except GreenroomError as error:
            # Allowed to be lost: every node compares by itself (S7).
            log.info("a command was not sent", kind=command.kind, node=node, error=error.message)
