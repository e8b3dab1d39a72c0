"""What a node does for the sessions that it holds after a fault: acquires them again, compares, reads again, restores.

A node and its engine can lose sight of each other in four ways, and each has one cure here:

* **The lease expired** (the node was paused, or cut off from the engine). Others may have detached its sessions. Under
* its new lease the node acquires each one again by compare-and-set on the generation and lease it held it under (S7).
* If
  the session moved or ended meanwhile, the compare-and-set fails, and the client is notified of what happened. What the
  node must not do is to assume: a connection stays fenced until its session is its own again.
* **Node and engine disagree** (a detach was lost; a write came late). Every `compare_interval`, and after each beat
  that was missed, the node compares what it holds with what is listed for it. Listed but not held is *detached*,
  never ended, and only at the second comparison in a row, because an attach may be in flight. Held but not listed is
  looked up one by one: ended, moved, or detached behind its back.
* **Changes were not received** (the subscription fell silent, S13). What is watched is read again from the master and
  passed on where its version is newer. A record *below* the version that was passed on (a failover lost what came
  after) is written above it by the node that holds a session of the participant (S11).
* **The engine lost everything** (S15). The node writes back the directory and the restrictions first, so that no
  blocked participant slips in, then its sessions. Nothing that is missing counts as deleted: the other nodes may
  still write it back. Only after `RECOVERED_AFTER` seconds is a participant whom nobody wrote back reported as
  offline.

Nothing here raises: what fails is tried again at the next beat or comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import inf
from typing import Protocol

import msgspec
import structlog

from greenroom.core.commands import RoomLeftCommand
from greenroom.core.requests import Owner
from greenroom.core.rooms.requests import LeaveRoom
from greenroom.core.states import ServerState
from greenroom.engines.base import BeatResult, Engine, RestoreRequest, SessionQuery
from greenroom.engines.paging import all_sessions, read_participants
from greenroom.errors import GreenroomError, ServiceUnavailableError, SessionEndedError
from greenroom.model import (
    Application,
    EndReason,
    ParticipantRecord,
    RegistryState,
    Restriction,
    SealedKey,
    SessionRecord,
)
from greenroom.server.config import ServerConfig
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.session_writes import SessionWrites

log = structlog.stdlib.get_logger("greenroom.node")

AT_ONCE = 64
"""Sessions that are reclaimed, or compared, at the same time."""
PAGE = 500
RECOVERED_AFTER = 25.0
"""Seconds after which every node has written back what it holds into an engine that had lost it (S15: 20 s)."""
NOTICE_AFTER = 2.0
"""Seconds in which a change that the engine counts must have been received (S13)."""

DirectoryCopy = tuple[Sequence[Application], Sequence[SealedKey], Sequence[Restriction]]


class Membership(Protocol):
    """What recovery needs of the node that it belongs to."""

    @property
    def name(self) -> str:
        """Of the node."""

    @property
    def lease(self) -> str:
        """The present lease, whether or not the node may act under it."""

    def current_lease(self) -> str | None:
        """The lease to write under; None while the node must not act."""

    def is_missing(self, session_id: str) -> bool:
        """Whether the session's partition did not answer the last beat."""


class Recovery:
    """One for each node. directory_copy: what is put back into an engine that lost its directory. clock: seconds that
    do not go back."""

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        writes: SessionWrites,
        config: ServerConfig,
        node: Membership,
        *,
        directory_copy: Callable[[], DirectoryCopy],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._writes = writes
        self._config = config
        self._node = node
        self._directory_copy = directory_copy
        self._clock = clock
        self._strays: dict[str, int] = {}
        self._room_strays: set[tuple[str, int, str]] = set()
        """Session, generation and room: listed and not held, or held and not listed, at the last comparison."""
        self._unread = False
        self._suspected: set[tuple[str, str]] = set()
        self._compared_at = -inf
        self._catching_up: asyncio.Task[None] | None = None

    # -- after a beat -------------------------------------------------------------------------------------------------

    def after_beat(self, result: BeatResult, *, was_fenced: bool) -> None:
        """The lease was renewed: do what the engine's absence, or its answer, calls for. Work runs beside the beats."""
        self._look_for_silence(result)
        for app, participant_id in self._hub.fan_out.take_doubtful():
            self._suspect(app, (participant_id,))
        if self._unread or self._hub.rooms.is_unread:
            self._unread = False
            self._hub.spawn(self.read_again(None))
        due = self._clock() - self._compared_at >= self._config.compare_interval
        if was_fenced or self._writes.deferred or due:
            self._catch_up()

    def beat_missed(self) -> None:
        """The engine was away, if only for a moment: compare as soon as it answers."""
        self._compared_at = -inf

    def _catch_up(self) -> None:
        """One at a time."""
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = self._hub.spawn(self._write_take_back_compare())

    async def caught_up(self) -> None:
        """Returns when what `after_beat` began is done."""
        if self._catching_up is not None:
            await asyncio.wait((self._catching_up,))

    async def _write_take_back_compare(self) -> None:
        """Deferred writes first, then sessions are reclaimed, then everything is compared (S7)."""
        if self._writes.deferred:
            await self._writes.write_deferred()
        fenced = [
            one
            for session_id, one in self._hub.sessions.items()
            if one.context.state is ServerState.FENCED and not self._node.is_missing(session_id)
        ]
        if fenced:
            await self._each(fenced, self.unfence)
            await self.read_again(None)
        await self.compare()

    # -- acquiring again ----------------------------------------------------------------------------------------------

    async def unfence(self, connection: SessionConnection) -> None:
        """Unfence one connection: at once where its lease is the present one, else by acquiring the session again.
        Nothing where its partition is away."""
        owner = connection.context.owner
        if owner is None or connection.is_over or self._node.is_missing(owner.session_id):
            return
        if owner.lease == self._node.lease:
            connection.unfence()
            return
        try:
            taken = await self._writes.take_back(owner, self._node.lease)
        except SessionEndedError:
            await self._look_up(connection, owner)
        except ServiceUnavailableError as error:
            log.info("a session was not reclaimed yet", session=owner.session_id, error=error.message)
        except GreenroomError as error:
            # Blocked or revoked meanwhile: the registry ended it or will.
            log.info("a session was not reclaimed", session=owner.session_id, error=error.message)
            await self._look_up(connection, owner)
        else:
            await self._continue(connection, taken)

    async def _continue(self, connection: SessionConnection, taken: Owner) -> None:
        if connection.is_over:
            # Lost while it was reclaimed: nobody else will detach it.
            await self._writes.detach(taken, self._config.grace)
        else:
            connection.unfence(taken)

    # -- comparing ----------------------------------------------------------------------------------------------------

    async def compare(self) -> None:
        """What is held here with what the engine lists for this node (S7)."""
        self._compared_at = self._clock()
        held_before = dict(self._hub.sessions)
        try:
            listed = await self._listed()
        except GreenroomError as error:
            log.info("nothing compared", error=error.message)
            return
        if self._node.current_lease() is None:
            return
        held = self._hub.sessions
        strays = [one for one in listed.values() if one.id not in held and one.state is RegistryState.ATTACHED]
        before, self._strays = self._strays, {one.id: one.generation for one in strays}
        for one in strays:
            if before.get(one.id) == one.generation:
                await self._detach_stray(one)
        await self._compare_rooms(listed)
        doubtful = [
            connection
            for session_id, connection in held_before.items()
            if held.get(session_id) is connection and not _agrees(connection, listed.get(session_id))
        ]
        await self._each(doubtful, self._look_up_held)

    async def _compare_rooms(self, listed: dict[str, SessionRecord]) -> None:
        """Rows are the truth (R2): of a room that is held and not listed the client learns that it was lost; one that
        is listed and not held, whose client has no answer to its join, is left. Only at the second comparison in a row:
        a request may be under way."""
        before, self._room_strays = self._room_strays, set()
        for session_id, record in listed.items():
            connection = self._hub.sessions.get(session_id)
            if connection is None or not (record.rooms or connection.context.rooms):
                continue
            if not _agrees(connection, record):
                continue
            held = connection.rooms_held
            for room in held ^ frozenset(record.rooms):
                stray = (session_id, record.generation, room)
                if stray not in before:
                    self._room_strays.add(stray)
                elif room in held:
                    log.warning("a session is not in a room", session=session_id)
                    connection.about_room(
                        RoomLeftCommand(session_id=session_id, generation=record.generation, room=room, reason="lost")
                    )
                else:
                    await self._leave_stray(connection, room)

    async def _leave_stray(self, connection: SessionConnection, room: str) -> None:
        context, owner = connection.context, connection.context.owner
        if owner is None or connection.is_over:
            return
        request = LeaveRoom(app=context.app, participant_id=context.participant_id, room=room, owner=owner)
        try:
            await self._engine.rooms.leave(request)
        except GreenroomError as error:
            log.info("a room was not left", session=owner.session_id, error=error.message)

    async def _listed(self) -> dict[str, SessionRecord]:
        query = SessionQuery(node=self._node.name, brief=True, limit=PAGE)
        return {one.id: one async for one in all_sessions(self._engine.registry, query)}

    async def _detach_stray(self, record: SessionRecord) -> None:
        """Listed but not held: detached, never ended, by exact generation and lease."""
        log.warning("a session without connection is detached", session=record.id)
        owned = Owner(record.id, record.generation, record.lease)
        await self._writes.detach(owned, self._config.grace)

    async def _look_up_held(self, connection: SessionConnection) -> None:
        owner = connection.context.owner
        if owner is not None and not connection.is_over:
            await self._look_up(connection, owner)

    async def _look_up(self, connection: SessionConnection, owner: Owner) -> None:
        """Held, and not listed for this node: ended, moved, or detached behind its back."""
        try:
            page = await self._engine.registry.sessions(SessionQuery(session_id=owner.session_id))
        except GreenroomError:
            return  # the next comparison asks again
        current = connection.context.owner
        if connection.is_over or current is None or current.generation != owner.generation:
            return
        record = page.items[0] if page.items else None
        if record is None or record.generation < owner.generation:
            # Nothing missing is read as deleted (S15): what is held at a higher generation is written again. What the
            # engine does not take has ended, and its record is gone: others of the participant ended since.
            if await self._write_again(connection) == 0:
                await self._take_again(connection, owner)
            return
        if record.state is RegistryState.CLOSED:
            reason = record.end_reason or EndReason.TIMEOUT
            connection.ended(reason.value, record.end_text)
        elif record.generation > owner.generation:
            connection.superseded(record.generation)
        elif record.state is RegistryState.DETACHED:
            connection.fence()
            await self._take_again(connection, owner)

    async def _write_again(self, connection: SessionConnection) -> int | None:
        """How many sessions the engine took; None where it did not answer."""
        try:
            return await self._write_back((connection,), finish=False)
        except GreenroomError as error:
            log.info("a session was not written again", error=error.message)
            return None

    async def _take_again(self, connection: SessionConnection, owner: Owner) -> None:
        try:
            await self._continue(connection, await self._writes.take_back(owner, self._node.lease))
        except GreenroomError as error:
            log.info("a session was not reclaimed", session=owner.session_id, error=error.message)
            if isinstance(error, SessionEndedError) and error.end_reason is not None:
                connection.ended(error.end_reason, "")

    async def _each(
        self, connections: Sequence[SessionConnection], work: Callable[[SessionConnection], object]
    ) -> None:
        items = iter(connections)
        while some := list(islice(items, AT_ONCE)):
            await asyncio.gather(*(work(one) for one in some))  # type: ignore[call-overload]

    # -- an engine that lost everything (S15) -------------------------------------------------------------------------

    async def restore(self) -> bool:
        """Write back what this node has: directory and restrictions first, then its sessions. Whether it was done."""
        applications, keys, restrictions = self._directory_copy()
        try:
            await self._engine.directory.put_back(applications, keys, restrictions)
            written = await self._write_back(tuple(self._hub.sessions.values()), finish=True)
        except GreenroomError as error:
            log.warning("the engine was not restored yet", error=error.message)
            return False
        if applications:
            log.warning("the engine had lost its state: restored", sessions=written, applications=len(applications))
        return True

    async def _write_back(self, connections: Sequence[SessionConnection], *, finish: bool) -> int:
        sessions = tuple(one for one in map(self._restorable, connections) if one is not None)
        request = RestoreRequest(
            node=self._node.name, lease=self._node.lease, sessions=sessions, finish=finish, grace=self._config.grace
        )
        return await self._engine.registry.restore(request)

    def _restorable(self, connection: SessionConnection) -> tuple[SessionRecord, ParticipantRecord, bytes, int] | None:
        context = connection.context
        held, owner = context.session, context.owner
        if held is None or owner is None or connection.is_over:
            return None
        record = msgspec.structs.replace(
            held.record,
            generation=owner.generation,
            lease=owner.lease,
            node=self._node.name,
            state=RegistryState.ATTACHED,
            scopes=context.scopes,
            token_issued_at=context.token.issued_at,
            token_expires_at=context.token.expires_at,
            rooms=tuple(connection.rooms_held),
        )
        return record, held.participant, held.secret_hash, held.attempt

    # -- changes that were missed -------------------------------------------------------------------------------------

    def _look_for_silence(self, result: BeatResult) -> None:
        """The engine counts changes of what is watched here; one not received within `NOTICE_AFTER` was lost (S13)."""
        behind = {}
        for partition, newest in result.newest.items():
            seen = self._hub.seen.setdefault(partition, newest)
            if seen < newest:
                behind[partition] = newest
        if behind:
            self._hub.spawn(self._read_what_stays_silent(behind))

    async def _read_what_stays_silent(self, behind: dict[int, int]) -> None:
        await asyncio.sleep(NOTICE_AFTER)
        silent = [one for one, newest in behind.items() if self._hub.seen.get(one, 0) < newest]
        if silent:
            log.warning("changes were not received: reading again", partitions=len(silent))
            for one in silent:
                self._hub.seen[one] = max(self._hub.seen.get(one, 0), behind[one])
            await self.read_again(silent)

    def changes_lost(self, partitions: Iterable[int]) -> None:
        """The bus may have missed changes of these partitions; none given: of all."""
        self._hub.spawn(self.read_again(tuple(partitions) or None))

    async def read_again(self, partitions: Sequence[int] | None) -> None:
        """Read what is watched here (in these partitions; None: in all) and pass on what is newer. What could not be
        read is read after the next beat."""
        holders = {(one.context.app, one.context.participant_id): one for one in tuple(self._hub.sessions.values())}
        for app, ids in self._hub.watched(partitions).items():
            try:
                records = await read_participants(self._engine.registry, app, ids)
                self._suspect(app, [record.id for record in records if self._is_doubtful(record)])
                for record in records:
                    self._hub.fan_out.note(record)
                    await self._raise_version(holders.get((app, record.id)), record)
            except GreenroomError as error:
                log.info("not read again", error=error.message)
                self._unread = True
        await self._hub.rooms.read_again(partitions)

    def _is_doubtful(self, record: ParticipantRecord) -> bool:
        return not record.version or record.version < self._hub.fan_out.passed_on.get((record.app, record.id), 0)

    def _suspect(self, app: str, unknown: Iterable[str]) -> None:
        """Nothing, or something older than was passed on, is stored of these: they were never here, or the engine lost
        them. Others may yet write them back."""
        ids = [one for one in unknown if (app, one) not in self._suspected]
        if ids:
            self._suspected.update((app, one) for one in ids)
            self._hub.spawn(self._confirm(app, ids))

    async def _confirm(self, app: str, ids: Sequence[str]) -> None:
        """Who is still unknown when an engine would have recovered is not here: watchers are notified. Where the record
        is still older than what was passed on, nobody holds a session of theirs: what is stored counts, and is
        written above that version."""
        try:
            await asyncio.sleep(RECOVERED_AFTER)
            records = [
                record
                for record in await read_participants(self._engine.registry, app, ids)
                if self._is_doubtful(record)
            ]
            passed_on = tuple((app, one.id, self._hub.fan_out.passed_on[app, one.id]) for one in records if one.version)
            for record in records:
                if not record.version:
                    self._hub.fan_out.forget(record)
            if passed_on:
                request = RestoreRequest(node=self._node.name, lease=self._node.lease, sessions=(), versions=passed_on)
                await self._engine.registry.restore(request)
        except GreenroomError as error:
            log.info("not read again", error=error.message)
            self._unread = True
        finally:
            self._suspected.difference_update((app, one) for one in ids)

    async def _raise_version(self, holder: SessionConnection | None, record: ParticipantRecord) -> None:
        """S11: a record below the version that was passed on is written above it. holder: who has a session of the
        participant here."""
        held = None if holder is None else holder.context.session
        if holder is not None and held is not None and record.version < held.participant.version:
            await self._write_again(holder)


def _agrees(connection: SessionConnection, record: SessionRecord | None) -> bool:
    """Whether what the engine lists is what is held."""
    owner = connection.context.owner
    if owner is None or record is None:
        return owner is None
    return record.state is RegistryState.ATTACHED and record.generation == owner.generation
