"""This node's life in the cluster: its lease, the fence, taking sessions back, and comparing (S5, S7, S9, S13).

A node counts from the moment a renewal that succeeded was *sent*, on a clock that runs while the machine sleeps. When
that is `fence_after` ago it stops acting for its sessions, before anyone else may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum
from math import inf

import structlog

from greenroom.core.states import ServerState
from greenroom.engines.base import BeatResult, Engine, NodeBeat, NodeRecord
from greenroom.errors import GreenroomError
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks
from greenroom.server.cluster.recovery import Upkeep
from greenroom.server.config import ServerConfig
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.engine_calls import Desk
from greenroom.server.sessions.hub import Hub
from greenroom.server.version import version

log = structlog.stdlib.get_logger("greenroom.node")

NOTICE_AFTER = 2.0
"""Seconds in which a change that the engine counts must have been heard (S13)."""


class NodeState(Enum):
    """Of this node."""

    STARTING = "starting"
    """No lease yet."""
    ACTING = "acting"
    FENCED = "fenced"
    """The lease is not certain: nothing is written for any session."""
    STOPPED = "stopped"


class Node(Upkeep):
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
        self.boot = random_hex()
        super().__init__(engine, hub, desk, config, name=name, lease=random_hex())
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
        self.on_directory: Callable[[int], None] = lambda _version: None
        self._random_hex = random_hex
        self._clock = clocks.boottime
        self._wall = clocks.wall
        self._good_until = 0.0
        self._catching_up: asyncio.Task[None] | None = None
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

    @property
    def lease_age(self) -> float:
        """Seconds since a renewal was sent that succeeded; from the start of the clock where none has."""
        return self._clock() - (self._good_until - self._config.fence_after)

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
        self.application_sessions = result.application_sessions
        self.known = result.nodes
        self.others = tuple(one for one in result.nodes if one.node != self.name)
        if result.recovering:
            self._restore_soon()
        else:
            self.on_directory(result.directory_version)
        self._look_for_silence(result)
        if self._unread:
            self._unread = False
            self._hub.spawn(self.read_again(None))
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

    def _note_comparison(self) -> None:
        self._compared_at = self._clock()

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

    # -- the end ------------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """The lease ends with this beat. Never raises."""
        self.state = NodeState.STOPPED
        try:
            async with asyncio.timeout(self._config.renew_interval):
                await self._engine.registry.beat(self._beat(leaving=True))
        except (GreenroomError, TimeoutError) as error:
            log.info("the lease was not given back", error=str(error))
