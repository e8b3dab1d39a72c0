"""This node's life in the cluster: its lease, the fence, taking sessions back, and comparing (S5, S7, S9, S13).

A node counts from the moment a renewal that succeeded was *sent*, on a clock that runs while the machine sleeps. When
that is `fence_after` ago it stops acting for its sessions, before anyone else may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from itertools import islice
from math import inf

import msgspec
import structlog

from greenroom.core.calls import Owned
from greenroom.core.states import ServerState
from greenroom.engines.base import BeatResult, Engine, NodeBeat, NodeRecord, RestoreRequest, SessionQuery
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
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.config import ServerConfig
from greenroom.server.connection import SessionConnection
from greenroom.server.desk import Desk
from greenroom.server.hub import Hub
from greenroom.server.version import version

log = structlog.stdlib.get_logger("greenroom.node")

AT_ONCE = 64
"""Sessions that are taken back, or compared, at the same time."""
NOTICE_AFTER = 2.0
"""Seconds in which a change that the engine counts must have been heard (S13)."""
PAGE = 500


DirectoryCopy = Callable[[], tuple[Sequence[Application], Sequence[SealedKey], Sequence[Restriction]]]


class NodeState(Enum):
    """Of this node."""

    STARTING = "starting"
    """No lease yet."""
    ACTING = "acting"
    FENCED = "fenced"
    """The lease is not certain: nothing is written for any session."""
    STOPPED = "stopped"


class Node:
    """random_hex: a new id. on_directory: its version, with every beat."""

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        desk: Desk,
        config: ServerConfig,
        *,
        name: str,
        random_hex: Callable[[], str],
        url: str = "",
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self.name = name
        self.boot = random_hex()
        self.lease = random_hex()
        self.url = url
        self.state = NodeState.STARTING
        self.clock_difference = 0.0
        """Seconds by which this node's wall clock is ahead of the engine's."""
        self.others: tuple[NodeRecord, ...] = ()
        self.draining = False
        self.directory_copy: DirectoryCopy = lambda: ((), (), ())
        """What is put back into an engine that lost its directory: `Tenants.copy`."""
        self.on_directory: Callable[[int], None] = lambda _version: None
        self._engine = engine
        self._hub = hub
        self._desk = desk
        self._config = config
        self._random_hex = random_hex
        self._clock = clocks.boottime
        self._wall = clocks.wall
        self._good_until = 0.0
        self._compared_at = -inf
        self._catching_up: asyncio.Task[None] | None = None
        self._strays: dict[str, int] = {}
        self._restoring: asyncio.Task[None] | None = None
        hub.on_joined = self._joined
        hub.on_lost = self._changes_lost

    # -- the lease ----------------------------------------------------------------------------------------------------

    def current_lease(self) -> str | None:
        """The lease to write under; None while the node must not act.

        Looks at the clock each time: a machine that slept writes nothing when it wakes.
        """
        if self.state is NodeState.ACTING and self._clock() < self._good_until:
            return self.lease
        return None

    def not_ready(self) -> str | None:
        """Why the node should get no traffic, or None."""
        if self.state is NodeState.STARTING:
            return "starting"
        if self.draining:
            return "draining"
        if self.current_lease() is None:
            return "fenced: the engine cannot be reached"
        if abs(self.clock_difference) > self._config.max_clock_difference:
            return f"the clock is {self.clock_difference:+.1f} s off the engine's"
        return None

    async def run(self) -> None:
        """Beats until cancelled. The first beat is the start's own."""
        while True:
            await asyncio.sleep(self._config.renew_interval)
            await self.beat()

    async def watch_fence(self) -> None:
        """Fences in time, whatever a beat is waiting for. Until cancelled."""
        while True:
            self.check_fence()
            await asyncio.sleep(0.25)

    def check_fence(self) -> None:
        """Fence if the last good renewal is too long ago."""
        if self.state is NodeState.ACTING and self._clock() >= self._good_until:
            log.warning("fenced: the lease could not be renewed in time", sessions=len(self._hub.sessions))
            self.state = NodeState.FENCED
            for connection in tuple(self._hub.sessions.values()):
                connection.fence()

    async def beat(self) -> None:
        """One renewal. Never raises: the next one tries again."""
        sent = self._clock()
        try:
            async with asyncio.timeout(self._config.renew_interval):
                result = await self._engine.registry.beat(self._beat())
        except (GreenroomError, TimeoutError) as error:
            log.warning("the lease was not renewed", error=str(error) or "no answer in time")
            self._missed()
            return
        except Exception:
            log.exception("the lease was not renewed")
            self._missed()
            return
        if not result.renewed:
            await self._rejoin()
            return
        await self._renewed(sent, result)

    def _beat(self, *, leaving: bool = False) -> NodeBeat:
        return NodeBeat(
            node=self.name,
            boot=self.boot,
            lease=self.lease,
            url=self.url,
            version=version(),
            ready=self.not_ready() in (None, "starting"),
            draining=self.draining,
            sessions=len(self._hub.sessions),
            leaving=leaving,
            watched=tuple(sorted(self._hub.partitions())),
        )

    async def _renewed(self, sent: float, result: BeatResult) -> None:
        before, self._good_until = self.state, sent + self._config.fence_after
        if before is NodeState.STOPPED:
            return
        self.state = NodeState.ACTING
        self.clock_difference = self._wall() - result.now / 1000
        self.others = tuple(one for one in result.nodes if one.node != self.name)
        if result.recovering:
            self._restore_soon()
        else:
            self.on_directory(result.directory_version)
        self._look_for_silence(result)
        due = self._clock() - self._compared_at >= self._config.compare_interval
        if before is NodeState.FENCED:
            log.info("the lease is good again")
            self._catch_up()
        elif self._desk.kept or due:
            self._catch_up()

    def _missed(self) -> None:
        # The engine was away, if only for a moment: compare as soon as it answers.
        self._compared_at = -inf
        self.check_fence()

    def _catch_up(self) -> None:
        """Beside the beats, which must not wait for it; one at a time."""
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = self._hub.spawn(self._back())

    async def settled(self) -> None:
        """Returns when the node has caught up, if it is doing so."""
        if self._catching_up is not None:
            await asyncio.wait((self._catching_up,))

    async def _rejoin(self) -> None:
        """The lease has lapsed. It is never renewed: join with a new one, and take the sessions back under it."""
        self.check_fence()
        if self.state is NodeState.ACTING:
            self._good_until = self._clock()
            self.check_fence()
        old, self.lease = self.lease, self._random_hex()
        log.warning("the lease had lapsed: joining with a new one", old=old[:8], new=self.lease[:8])
        sent = self._clock()
        try:
            async with asyncio.timeout(self._config.renew_interval):
                result = await self._engine.registry.beat(self._beat())
        except (GreenroomError, TimeoutError):
            return
        if result.renewed:
            if self.state is NodeState.STARTING:
                self.state = NodeState.ACTING
            await self._renewed(sent, result)

    async def _back(self) -> None:
        """What was kept is written first, then sessions are taken back, then all is compared (S7). Never raises."""
        if self._desk.kept:
            await self._desk.write_kept()
        fenced = [one for one in self._hub.sessions.values() if one.machine.state is ServerState.FENCED]
        if fenced:
            await self._each(fenced, self._settle_one)
            await self.read_again(None)
        await self.compare()

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

    def _joined(self, connection: SessionConnection) -> None:
        """A session was attached while the node lost its lease: it is fenced too, or taken back under the new one."""
        owner = connection.machine.owner
        if owner is None:
            return
        if self.current_lease() is None:
            connection.fence()
        elif owner.lease != self.lease:
            connection.fence()
            self._hub.spawn(self._settle_one(connection))

    # -- comparing ----------------------------------------------------------------------------------------------------

    async def compare(self) -> None:
        """What is held here with what the engine lists for this node (S7). Never raises."""
        self._compared_at = self._clock()
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

    # -- changes that were missed -------------------------------------------------------------------------------------

    def _look_for_silence(self, result: BeatResult) -> None:
        """The engine counts changes of what is watched here; one not heard within 2 s was lost (S13)."""
        behind = {}
        for partition, newest in result.newest.items():
            seen = self._hub.seen.setdefault(partition, newest)
            if seen < newest:
                behind[partition] = newest
        if behind:
            self._hub.spawn(self._notice(behind))

    async def _notice(self, behind: dict[int, int]) -> None:
        await asyncio.sleep(NOTICE_AFTER)
        silent = [one for one, newest in behind.items() if self._hub.seen.get(one, 0) < newest]
        if silent:
            log.warning("changes were not heard: reading again", partitions=len(silent))
            for one in silent:
                self._hub.seen[one] = max(self._hub.seen.get(one, 0), behind[one])
            await self.read_again(silent)

    def _changes_lost(self, partitions: Iterable[int]) -> None:
        self._hub.spawn(self.read_again(tuple(partitions) or None))

    async def read_again(self, partitions: Sequence[int] | None) -> None:
        """Read what is watched here (in these partitions; None: in all) and tell what is newer. Never raises."""
        for app, ids in self._hub.watched(partitions).items():
            try:
                for record in await self._desk.read(app, ids):
                    self._hub.note(record)
            except GreenroomError as error:
                log.info("not read again", error=error.message)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """The lease ends with this beat. Never raises."""
        self.state = NodeState.STOPPED
        try:
            async with asyncio.timeout(self._config.renew_interval):
                await self._engine.registry.beat(self._beat(leaving=True))
        except (GreenroomError, TimeoutError) as error:
            log.info("the lease was not given back", error=str(error))


def _agrees(connection: SessionConnection, record: SessionRecord | None) -> bool:
    """Whether what the engine lists is what is held."""
    owner = connection.machine.owner
    if owner is None or record is None:
        return owner is None
    return record.state is SessionState.ATTACHED and record.generation == owner.generation
