"""How a node stops: not ready at once, its clients moved to other nodes, or notified of when it will be back (S10)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from greenroom.server.cluster.node import Node
from greenroom.server.config import ServerConfig
from greenroom.server.sessions.hub import Hub

log = structlog.stdlib.get_logger("greenroom.drain")

CLIENTS_PER_SECOND = 400.0
"""Which another node takes without its own clients noticing: a resume is an open without a signature."""
SHORTEST_JITTER = 1.0
MOVING = 0.6
"""The share of the limit over which clients are asked to move; the rest is for those who do not manage at once."""


def jitter_for(clients: int, nodes: int, longest: float) -> float:
    """Seconds over which so many clients come to so many nodes. nodes: 0 counts as 1."""
    return min(longest, max(SHORTEST_JITTER, clients / (CLIENTS_PER_SECOND * max(1, nodes))))


class Drain:
    """One for each node. clock: monotonic seconds. rate: sessions a second that are moved; None: as many as the others
    take within the limit. A rate that needs longer than `drain_limit` gets longer: it was asked for."""

    def __init__(
        self,
        hub: Hub,
        node: Node,
        config: ServerConfig,
        clock: Callable[[], float] = time.monotonic,
        *,
        rate: float | None = None,
    ) -> None:
        self._hub = hub
        self._node = node
        self._config = config
        self._clock = clock
        self._rate = rate

    def ready_nodes(self) -> int:
        """Other nodes that take clients, as the last beat listed them."""
        return sum(1 for one in self._node.others if one.ready and not one.draining and one.lease_left > 0)

    async def run(self) -> None:
        """Returns when nobody is connected any more, at the latest after `drain_limit`."""
        self._node.begin_draining()
        if not self._hub.connections:
            return
        # Others learn of it, and we learn who they are: what the last beat said may be three seconds old.
        await self._node.beat()
        others = self.ready_nodes()
        log.info("draining", sessions=len(self._hub.sessions), other_nodes=others)
        if others:
            await self._move(others)
        self._send_away(others)
        await self._wait(self._config.close_timeout + 0.5, lambda: not self._hub.connections)

    async def _move(self, others: int) -> None:
        """Make-before-break: a client closes its old connection when a new one has its session."""
        limit = self._config.drain_limit
        clients = len(self._hub.sessions)
        if self._rate is None:
            jitter = jitter_for(clients, others, limit * MOVING)
        else:
            jitter = max(SHORTEST_JITTER, clients / self._rate)
            limit = max(limit, jitter / MOVING)
        for connection in tuple(self._hub.sessions.values()):
            connection.move_on(0.0, jitter, "draining")
        await self._wait(limit, lambda: not self._hub.sessions)

    def _send_away(self, others: int) -> None:
        """Whoever is left is detached with the full grace and notified of when to come back."""
        after = 0.0 if others else self._config.restart_after
        left = tuple(self._hub.connections)
        # Half of the grace at most: the other half is for what goes wrong.
        jitter = jitter_for(len(left), others, self._config.grace / 2)
        for connection in left:
            connection.leave(after, jitter)

    async def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        until = self._clock() + seconds
        while not done() and self._clock() < until:  # noqa: ASYNC110 - there is no event for it, and it runs once
            await asyncio.sleep(0.05)
