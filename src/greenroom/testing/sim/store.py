"""One node's way to the simulated Redis: delays, broken connections, and the WAIT of the durable profile (S16)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from greenroom.engines.redis.errors import outcome_open, unreachable
from greenroom.engines.redis.store import Call, Reply
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.lua_redis import LuaServer, LuaStore
from greenroom.testing.sim.loop import SimLoop, Timeline

FASTEST, SLOWEST = 0.0002, 0.003
"""Seconds between a node and Redis, one way."""
GIVES_UP = 2.0
"""Seconds after which a call that nobody answers fails, as the engine's connection has it."""


class SimStore(LuaStore):
    """One node's way to the simulated Redis, with delays: others get between asking and carrying out, and between
    carrying out and hearing of it."""

    def __init__(self, server: LuaServer, timeline: Timeline, loop: SimLoop, seed: int) -> None:
        super().__init__(server)
        self._timeline = timeline
        self._loop = loop
        self._dice = random.Random(seed)
        self.breaks = 0
        """How often the connection broke: who waits for an answer over a break does not get it."""

    async def call(self, call: Call) -> Reply:
        return (await self.call_many((call,)))[0]

    async def call_many(self, calls: Sequence[Call]) -> list[Reply]:
        await asyncio.sleep(self._delay())
        if not (self.reachable and self.server.up):
            await asyncio.sleep(self._dice.uniform(0.0, GIVES_UP))
            raise unreachable("simulated")
        breaks = self.breaks
        try:
            replies = [await super(SimStore, self).call(one) for one in calls]
        except ServiceUnavailableError:
            await asyncio.sleep(self._dice.uniform(0.0, GIVES_UP))
            raise
        await asyncio.sleep(self._delay())
        if breaks != self.breaks:
            raise outcome_open("simulated")
        return replies

    async def subscribe(self, tag: str, channel: str) -> None:
        await asyncio.sleep(self._delay())
        await super().subscribe(tag, channel)
        await asyncio.sleep(self._delay())

    def deliver(self, channel: str, data: bytes) -> None:
        """Into the node's own process, in order, after a delay: a paused one hears it when it wakes."""
        tag, name = self._subscribed[channel]

        def arrive() -> None:
            if self._loop in self._timeline.loops and self.hears(channel):
                self._loop.call_soon(self._on_message, tag, name, data)

        self._timeline.at(SLOWEST, arrive)

    def mend(self) -> None:
        """The connection is made anew: what was published meanwhile was missed."""
        if self._loop in self._timeline.loops:
            self._loop.call_soon(self.reconnected)

    def _delay(self) -> float:
        return self._dice.uniform(FASTEST, SLOWEST)
