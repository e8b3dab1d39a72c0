"""This node among others: its lease, and the fence that keeps two nodes from acting for one session (S5, S7, S9).

The engine believes that a node lives for `lease` seconds after it stored a renewal. After that others detach its
sessions. So a node must stop acting *before* its lease can be over, also when it cannot know: its renewal may have
been stored and the answer lost, the process may have been paused, the machine may have slept.

* **It counts from when a renewal was sent**, not from when the answer came: the engine stored it at that moment or
  later.
* **The clock is one that runs during suspend** (`boottime`), and `Lease.current` looks at it on every call. A machine
  that wakes up writes nothing, though no timer has fired yet.
* **At `fence_after` it is fenced**: calls of its sessions fail with a retryable error, connections stay, clients are
  asked to move on. Fencing ends no session; only an end that the engine stored does.
* **A partition that is away costs its own sessions alone.** Where it does not answer while others do (a master of a
  Redis Cluster), the sessions in it are fenced when the last renewal *there* is too old; all others continue.
* **A lapsed lease id is never used again.** The node joins with a new one, and its sessions are its own only where
  the compare-and-set on their old lease succeeds (`recovery`). If the old id could be renewed, a write that was sent
  under it before the pause and arrives late would be taken.
* **A session that is attached while the lease goes** is seen in `joined`: its lease is compared again when the
  engine's answer comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import structlog

from greenroom.engines.base import BeatResult, Engine, NodeBeat, NodeRecord
from greenroom.errors import GreenroomError
from greenroom.model import partition_of_session
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.cluster.recovery import DirectoryCopy, Recovery
from greenroom.server.config import ServerConfig
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.engine_calls import Lease
from greenroom.server.sessions.hub import Hub
from greenroom.server.sessions.session_writes import SessionWrites
from greenroom.server.version import version

log = structlog.stdlib.get_logger("greenroom.node")


class NodeState(Enum):
    """Of this node."""

    STARTING = "starting"
    """No lease yet."""
    ACTING = "acting"
    FENCED = "fenced"
    """The lease is not certain: nothing is written for any session."""
    STOPPED = "stopped"


class KnownDirectory(Protocol):
    """What the node needs of the directory that it keeps a copy of."""

    def version_seen(self, version: int) -> None:
        """With every beat: the version that the engine's directory has now."""

    def copy(self) -> DirectoryCopy:
        """What is put back into an engine that lost it (S15)."""


class Node:
    """random_hex: a new id. url: how others reach it, for people."""

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        writes: SessionWrites,
        directory: KnownDirectory,
        config: ServerConfig,
        *,
        name: str,
        lease: Lease,
        random_hex: Callable[[], str],
        url: str = "",
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self.name = name
        self.boot = random_hex()
        self.url = url
        self.state = NodeState.STARTING
        self.clock_difference = 0.0
        """Seconds by which this node's wall clock is ahead of the engine's."""
        self.others: tuple[NodeRecord, ...] = ()
        self.application_sessions: dict[str, int] = {}
        """Of each application over the cluster, as the last beat said."""
        self.known: tuple[NodeRecord, ...] = ()
        """All nodes with a record, this one too, as the last beat listed them."""
        self.draining = False
        self.recovery = Recovery(
            engine, hub, writes, config, self, directory_copy=directory.copy, clock=clocks.boottime
        )
        self._engine = engine
        self._hub = hub
        self._directory = directory
        self._config = config
        self._random_hex = random_hex
        self._clock = clocks.boottime
        self._wall = clocks.wall
        self._lease = lease
        self._restoring: asyncio.Task[None] | None = None
        self._missing: dict[int, float] = {}
        """Partitions in which the lease was not renewed with the last beat, and until when it is good there."""
        self._fenced: set[int] = set()
        """Those of them whose sessions are fenced."""

    # -- the lease ----------------------------------------------------------------------------------------------------

    @property
    def lease(self) -> str:
        """The present lease, whether or not the node may act under it."""
        return self._lease.id

    def current_lease(self) -> str | None:
        """The lease to write under; None while the node must not act."""
        return self._lease.current()

    def is_missing(self, session_id: str) -> bool:
        """Whether the session's partition did not answer the last beat."""
        return partition_of_session(session_id) in self._missing

    @property
    def lease_age(self) -> float:
        """Seconds since a renewal was sent that succeeded; from the start of the clock where none has."""
        return self._clock() - (self._lease.good_until - self._config.fence_after)

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

    def begin_draining(self) -> None:
        """Not ready from now on; the next beat says so."""
        self.draining = True

    async def run(self) -> None:
        """Beats until cancelled. The first beat is the start's own.

        The interval is from the beginning of a beat to that of the next: after one that had no answer in time there is
        another at once. A pause in between would leave no second try before the fence.
        """
        loop, every = asyncio.get_running_loop(), self._config.renew_interval
        began = loop.time()
        while True:
            await asyncio.sleep(max(0.0, began + every - loop.time()))
            began = loop.time()
            await self.beat()

    async def watch_fence(self) -> None:
        """Fences in time, whatever a beat is waiting for. Until cancelled."""
        while True:
            self.check_fence()
            await asyncio.sleep(0.25)

    def check_fence(self) -> None:
        """Fence if the last good renewal is too long ago: everywhere, or in some partitions."""
        if self.state is NodeState.ACTING and self.current_lease() is None:
            log.warning("fenced: the lease could not be renewed in time", sessions=len(self._hub.sessions))
            self.state = NodeState.FENCED
            for connection in tuple(self._hub.sessions.values()):
                connection.fence()
        now = self._clock()
        late = {number for number, good_until in self._missing.items() if good_until <= now} - self._fenced
        if late:
            log.warning("fenced in partitions that do not answer", partitions=len(late))
            self._fenced |= late
            for session_id, connection in tuple(self._hub.sessions.items()):
                if partition_of_session(session_id) in late:
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
        before = self.state
        if before is NodeState.STOPPED:
            return
        is_back = self._note_missing(result.missing)
        self._lease.renewed(sent + self._config.fence_after)
        self.state = NodeState.ACTING
        if result.now is not None:
            self.clock_difference = self._wall() - result.now / 1000
        self.application_sessions = result.application_sessions
        self.known = result.nodes
        self.others = tuple(one for one in result.nodes if one.node != self.name)
        if result.recovering:
            self._restore_soon()
        else:
            self._directory.version_seen(result.directory_version)
        if before is NodeState.FENCED:
            log.info("the lease is valid again")
        self.recovery.after_beat(result, was_fenced=is_back or before is NodeState.FENCED)

    def _note_missing(self, missing: frozenset[int]) -> bool:
        """Whether a partition is back whose sessions are fenced."""
        if missing:
            log.warning("the lease was not renewed everywhere", partitions=len(missing))
        if not missing.issuperset(self._missing):
            self.recovery.beat_missed()
        good_until = self._lease.good_until
        self._missing = {number: self._missing.get(number, good_until) for number in missing}
        is_back = not missing.issuperset(self._fenced)
        self._fenced &= missing
        return is_back

    def _missed(self) -> None:
        self.recovery.beat_missed()
        self.check_fence()

    async def _rejoin(self) -> None:
        """The lease has expired. It is never renewed: join with a new one, and acquire the sessions again under it."""
        self._lease.ended()
        self.check_fence()
        old = self.lease
        self._lease.replaced(self._random_hex())
        log.warning("the lease had expired: joining with a new one", old=old[:8], new=self.lease[:8])
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

    def joined(self, connection: SessionConnection) -> None:
        """A session was attached. If the node lost its lease meanwhile, it is fenced too, or reclaimed under the new
        one."""
        owner = connection.context.owner
        if owner is None:
            return
        if self._lease.current() is None:
            connection.fence()
        elif owner.lease != self._lease.id:
            connection.fence()
            self._hub.spawn(self.recovery.unfence(connection))

    # -- an engine that lost everything (S15) -------------------------------------------------------------------------

    def _restore_soon(self) -> None:
        if self._restoring is None or self._restoring.done():
            self._restoring = self._hub.spawn(self._restore())

    async def _restore(self) -> None:
        if await self.recovery.restore():
            # Where a partition had no marker the lease was not written either.
            await self.beat()

    async def restored(self) -> None:
        """Returns when a restore that is under way is over."""
        if self._restoring is not None:
            await asyncio.wait((self._restoring,))

    # -- the end ------------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """The lease ends with this beat. Never raises."""
        self.state = NodeState.STOPPED
        self._lease.ended()
        try:
            async with asyncio.timeout(self._config.renew_interval):
                await self._engine.registry.beat(self._beat(leaving=True))
        except (GreenroomError, TimeoutError) as error:
            log.info("the lease was not released", error=str(error))
