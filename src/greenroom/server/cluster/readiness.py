"""Whether this node should get traffic: its own state, and whether the engine takes a write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from greenroom.engines.base import Engine
from greenroom.errors import ServiceUnavailableError
from greenroom.server.cluster.node import Node

KEPT = 1.0
"""Seconds for which the engine's answer counts: anybody may ask, and each question to the engine is a write."""


class ReadinessCheck:
    """One for each node. clock: seconds that do not go back."""

    def __init__(self, engine: Engine, node: Node, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._node = node
        self._clock = clock
        self._asked_at = -inf
        self._error: ServiceUnavailableError | None = None
        self._asking = asyncio.Lock()

    async def check(self) -> None:
        """Raises ServiceUnavailableError that says why the node should get no traffic."""
        why = self._node.not_ready()
        if why is not None:
            raise ServiceUnavailableError(f"The node is not ready: {why}.", hint="Try another node, or this one later.")
        async with self._asking:
            if self._clock() - self._asked_at >= KEPT:
                await self._ask()
        if self._error is not None:
            raise self._error

    async def _ask(self) -> None:
        asked_at = self._clock()
        try:
            await self._engine.healthy()
        except ServiceUnavailableError as error:
            self._error = error
        else:
            self._error = None
        self._asked_at = asked_at
