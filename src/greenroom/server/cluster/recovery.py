"""What a node does for the sessions that it holds: takes them back, compares, reads again, restores (S7, S12, S15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import inf

import msgspec
import structlog

from greenroom.core.server.calls import Owned
from greenroom.engines.base import Engine, RestoreRequest, SessionQuery
from greenroom.errors import GreenroomError, ServiceUnavailableError, SessionEndedError
from greenroom.model import (
    Application,
    EndReason,
    ParticipantRecord,
    Restriction,
    SealedKey,
    SessionRecord,
    SessionState,
)
from greenroom.server.config import ServerConfig
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.engine_calls import Desk
from greenroom.server.sessions.hub import Hub

log = structlog.stdlib.get_logger("greenroom.node")

AT_ONCE = 64
"""Sessions that are taken back, or compared, at the same time."""
PAGE = 500
RECOVERED_AFTER = 25.0
"""Seconds after which every node has written back what it holds into an engine that had lost it (S15: 20 s)."""

DirectoryCopy = Callable[[], tuple[Sequence[Application], Sequence[SealedKey], Sequence[Restriction]]]


class Upkeep:
    """The half of a `Node` that looks after sessions. lease: the present one; the other half renews it."""

    def __init__(self, engine: Engine, hub: Hub, desk: Desk, config: ServerConfig, *, name: str, lease: str) -> None:
        self.name = name
        self.lease = lease
        self.directory_copy: DirectoryCopy = lambda: ((), (), ())
        """What is put back into an engine that lost its directory: `Tenants.copy`."""
        self._engine = engine
        self._hub = hub
        self._desk = desk
        self._config = config
        self._strays: dict[str, int] = {}
        self._unread = False
        self._suspected: set[tuple[str, str]] = set()
        self._restoring: asyncio.Task[None] | None = None
        self._compared_at = -inf

    def current_lease(self) -> str | None:
        """The lease to write under; None while the node must not act."""
        raise NotImplementedError

    async def beat(self) -> None:
        """One renewal of the lease. Never raises."""
        raise NotImplementedError

    def _note_comparison(self) -> None:
        """A comparison begins."""
        raise NotImplementedError

    async def _settle_one(self, connection: SessionConnection) -> None:
        """Unfence one connection: at once where its lease is the present one, else by taking the session back."""
        owner = connection.machine.owner
        if owner is None or connection.is_over:
            return
        if owner.lease == self.lease:
            connection.unfence()
            return
        try:
            taken = await self._desk.take_back(owner, self.lease)
        except SessionEndedError:
            await self._find_out(connection, owner)
        except ServiceUnavailableError as error:
            log.info("a session was not taken back yet", session=owner.session_id, error=error.message)
        except GreenroomError as error:
            # Blocked or revoked meanwhile: the registry ended it or will.
            log.info("a session was not taken back", session=owner.session_id, error=error.message)
            await self._find_out(connection, owner)
        else:
            await self._go_on(connection, taken)

    async def _go_on(self, connection: SessionConnection, taken: Owned) -> None:
        if connection.is_over:
            # Lost while it was taken back: nobody else will detach it.
            await self._desk.detach(taken, self._config.grace)
        else:
            connection.unfence(taken)

    # -- comparing ----------------------------------------------------------------------------------------------------

    async def compare(self) -> None:
        """What is held here with what the engine lists for this node (S7). Never raises."""
        self._note_comparison()
        held_before = dict(self._hub.sessions)
        try:
            listed = await self._listed()
        except GreenroomError as error:
            log.info("nothing compared", error=error.message)
            return
        if self.current_lease() is None:
            return
        held = self._hub.sessions
        strays = [one for one in listed.values() if one.id not in held and one.state is SessionState.ATTACHED]
        before, self._strays = self._strays, {one.id: one.generation for one in strays}
        for one in strays:
            if before.get(one.id) == one.generation:
                await self._detach_stray(one)
        doubtful = [
            connection
            for session_id, connection in held_before.items()
            if held.get(session_id) is connection and not _agrees(connection, listed.get(session_id))
        ]
        await self._each(doubtful, self._doubt)

    async def _listed(self) -> dict[str, SessionRecord]:
        listed: dict[str, SessionRecord] = {}
        cursor = None
        while True:
            query = SessionQuery(node=self.name, cursor=cursor, limit=PAGE)
            page = await self._engine.registry.sessions(query)
            listed.update((one.id, one) for one in page.items)
            cursor = page.cursor
            if cursor is None:
                return listed

    async def _detach_stray(self, record: SessionRecord) -> None:
        """Listed but not held: detached, never ended, by exact generation and lease. Attaches in flight are excepted:
        only what is still not held after the time an attach may take is a stray."""
        log.warning("a session without connection is detached", session=record.id)
        owned = Owned(record.id, record.generation, record.lease)
        await self._desk.detach(owned, self._config.grace)

    async def _doubt(self, connection: SessionConnection) -> None:
        owner = connection.machine.owner
        if owner is not None and not connection.is_over:
            await self._find_out(connection, owner)

    async def _find_out(self, connection: SessionConnection, owner: Owned) -> None:
        """Held, and not listed for this node: ended, moved, or detached behind its back."""
        try:
            page = await self._engine.registry.sessions(SessionQuery(session_id=owner.session_id))
        except GreenroomError:
            return  # the next comparison asks again
        current = connection.machine.owner
        if connection.is_over or current is None or current.generation != owner.generation:
            return
        record = page.items[0] if page.items else None
        if record is None or record.generation < owner.generation:
            # Nothing missing is read as deleted (S15): what is held at a higher generation is written again.
            await self._write_again(connection)
            return
        if record.state is SessionState.CLOSED:
            reason = record.end_reason or EndReason.TIMEOUT
            connection.ended(reason.value, record.end_text)
        elif record.generation > owner.generation:
            connection.superseded(record.generation)
        elif record.state is SessionState.DETACHED:
            connection.fence()
            await self._take_again(connection, owner)

    async def _write_again(self, connection: SessionConnection) -> None:
        try:
            await self._write_back((connection,), finish=False)
        except GreenroomError as error:
            log.info("a session was not written again", error=error.message)

    async def _take_again(self, connection: SessionConnection, owner: Owned) -> None:
        try:
            await self._go_on(connection, await self._desk.take_back(owner, self.lease))
        except GreenroomError as error:
            log.info("a session was not taken back", session=owner.session_id, error=error.message)

    async def _each(
        self, connections: Sequence[SessionConnection], work: Callable[[SessionConnection], object]
    ) -> None:
        items = iter(connections)
        while some := list(islice(items, AT_ONCE)):
            await asyncio.gather(*(work(one) for one in some))  # type: ignore[call-overload]

    # -- an engine that lost everything (S15) -------------------------------------------------------------------------

    def _restore_soon(self) -> None:
        if self._restoring is None or self._restoring.done():
            self._restoring = self._hub.spawn(self.restore())

    async def restored(self) -> None:
        """Returns when a restore that is under way is over."""
        if self._restoring is not None:
            await asyncio.wait((self._restoring,))

    async def restore(self) -> None:
        """Write back what this node has: directory and blocks first, then its sessions. Never raises: the next beat
        that says so tries again."""
        applications, keys, restrictions = self.directory_copy()
        try:
            await self._engine.directory.put_back(applications, keys, restrictions)
            written = await self._write_back(tuple(self._hub.sessions.values()), finish=True)
        except GreenroomError as error:
            log.warning("the engine was not restored yet", error=error.message)
            return
        if applications:
            log.warning("the engine had lost its state: restored", sessions=written, applications=len(applications))
        # Where a partition had no marker the lease was not written either.
        await self.beat()

    async def _write_back(self, connections: Sequence[SessionConnection], *, finish: bool) -> int:
        sessions = tuple(one for one in map(self._restorable, connections) if one is not None)
        request = RestoreRequest(node=self.name, lease=self.lease, sessions=sessions, finish=finish)
        return await self._engine.registry.restore(request)

    def _restorable(self, connection: SessionConnection) -> tuple[SessionRecord, ParticipantRecord, bytes, int] | None:
        machine = connection.machine
        held, owner = machine.held, machine.owner
        if held is None or owner is None or connection.is_over:
            return None
        record = msgspec.structs.replace(
            held.record,
            generation=owner.generation,
            lease=owner.lease,
            node=self.name,
            state=SessionState.ATTACHED,
            scopes=machine.scopes,
            token_issued_at=machine.issued_at,
            token_expires_at=machine.expires_at,
        )
        return record, held.participant, held.secret_hash, held.attempt

    async def read_again(self, partitions: Sequence[int] | None) -> None:
        """Read what is watched here (in these partitions; None: in all) and tell what is newer.

        Never raises: what could not be read is read after the next beat.
        """
        holders = {(one.machine.app, one.machine.participant_id): one for one in tuple(self._hub.sessions.values())}
        for app, ids in self._hub.watched(partitions).items():
            try:
                records = await self._desk.read(app, ids)
                self._suspect(app, [record.id for record in records if self._is_doubtful(record)])
                for record in records:
                    self._hub.note(record)
                    await self._raise(holders.get((app, record.id)), record)
            except GreenroomError as error:
                log.info("not read again", error=error.message)
                self._unread = True

    def _is_doubtful(self, record: ParticipantRecord) -> bool:
        return not record.version or record.version < self._hub.passed_on.get((record.app, record.id), 0)

    def _suspect(self, app: str, unknown: Iterable[str]) -> None:
        """Nothing, or something older than was told, is stored of these: they were never here, or the engine lost them.
        Others may yet write them back."""
        ids = [one for one in unknown if (app, one) not in self._suspected]
        if ids:
            self._suspected.update((app, one) for one in ids)
            self._hub.spawn(self._confirm(app, ids))

    async def _confirm(self, app: str, ids: Sequence[str]) -> None:
        """Who is still unknown when an engine would have recovered is not here: no watcher goes on seeing a ghost. Of
        whom still less is known than was told nobody holds a session: what is stored counts, above what was told."""
        try:
            await asyncio.sleep(RECOVERED_AFTER)
            records = [record for record in await self._desk.read(app, ids) if self._is_doubtful(record)]
            told = tuple((app, record.id, self._hub.passed_on[app, record.id]) for record in records if record.version)
            for record in records:
                if not record.version:
                    self._hub.forget(record)
            if told:
                request = RestoreRequest(node=self.name, lease=self.lease, sessions=(), versions=told)
                await self._engine.registry.restore(request)
        except GreenroomError as error:
            log.info("not read again", error=error.message)
            self._unread = True
        finally:
            self._suspected.difference_update((app, one) for one in ids)

    async def _raise(self, holder: SessionConnection | None, record: ParticipantRecord) -> None:
        """S11: a record below the version that was passed on (a failover lost what came after) is written above it.
        holder: who has a session of the participant here."""
        held = None if holder is None else holder.machine.held
        if holder is not None and held is not None and record.version < held.participant.version:
            await self._write_again(holder)


def _agrees(connection: SessionConnection, record: SessionRecord | None) -> bool:
    """Whether what the engine lists is what is held."""
    owner = connection.machine.owner
    if owner is None or record is None:
        return owner is None
    return record.state is SessionState.ATTACHED and record.generation == owner.generation
