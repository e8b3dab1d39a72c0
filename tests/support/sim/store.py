"""One node's way to the simulated Redis: delays, broken connections, and the WAIT of the durable profile (S16)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from greenroom.engines.redis.errors import outcome_open, unreachable
from greenroom.engines.redis.store import FunctionCall, Reply
from greenroom.errors import ServiceUnavailableError
from tests.support.lua_redis import LuaServer, LuaStore
from tests.support.sim.loop import SimLoop, Timeline

FASTEST, SLOWEST = 0.0002, 0.003
"""Seconds between a node and Redis, one way."""
GIVES_UP = 2.0
"""Seconds after which a call that nobody answers fails, as the engine's connection has it."""
WAITS = 0.5
"""Seconds that replicas have to confirm a durable call, as the engine's connection has it."""
LOOKS = 0.05
"""Seconds from one look at the replica to the next."""


class SimStore(LuaStore):
    """One node's way to the simulated Redis, with delays: others get between asking and carrying out, and between
    carrying out and hearing of it.

    waits: whether a durable call is answered only when the replica has it (`wait_replicas=1`).
    """

    def __init__(self, server: LuaServer, timeline: Timeline, loop: SimLoop, seed: int, *, waits: bool = False) -> None:
        super().__init__(server)
        self._timeline = timeline
        self._loop = loop
        self._dice = random.Random(seed)
        self._waits = waits
        self._breaks = 0
        self._written = 0
        """The offset of the last durable write of this connection: what WAIT waits for. One who has written nothing
        waits for nothing, whatever others wrote."""

    @property
    def waits(self) -> bool:
        return self._waits

    async def call(self, call: FunctionCall) -> Reply:
        (reply,) = await self.call_many((call,))
        if isinstance(reply, ServiceUnavailableError):
            raise reply
        return reply

    async def call_many(self, calls: Sequence[FunctionCall]) -> list[Reply | ServiceUnavailableError]:
        await asyncio.sleep(self._delay())
        if not (self.reachable and self.server.up):
            await asyncio.sleep(self._dice.uniform(0.0, GIVES_UP))
            return [unreachable("simulated") for _ in calls]
        breaks = self._breaks
        replies = [await self._carry_out(one) for one in calls]
        if any(isinstance(reply, ServiceUnavailableError) for reply in replies):
            await asyncio.sleep(self._dice.uniform(0.0, GIVES_UP))
        await asyncio.sleep(self._delay())
        confirmed = not self._waits or not any(one.durable for one in calls) or await self._confirmed()
        if breaks != self._breaks or not confirmed:
            return [
                reply if isinstance(reply, ServiceUnavailableError) else outcome_open("simulated") for reply in replies
            ]
        return replies

    async def _carry_out(self, call: FunctionCall) -> Reply | ServiceUnavailableError:
        replica = self.server.replica
        before = 0 if replica is None else replica.offset
        try:
            return await super().call(call)
        except ServiceUnavailableError as error:
            return error
        finally:
            if replica is not None and call.durable and replica.offset > before:
                self._written = replica.offset

    async def _confirmed(self) -> bool:
        """WAIT: whether the replica has, in time, what this connection has written."""
        replica = self.server.replica
        assert replica is not None
        written, until = self._written, self._timeline.now + WAITS
        while not replica.has(written):
            if self._timeline.now >= until:
                return False
            await asyncio.sleep(LOOKS)
        return True

    def broken(self) -> None:
        """The connection broke: who waits for an answer over a break does not get it."""
        self._breaks += 1
        self._written = 0

    async def subscribe(self, tag: str, channel: str) -> None:
        await asyncio.sleep(self._delay())
        await super().subscribe(tag, channel)
        await asyncio.sleep(self._delay())

    def deliver(self, channel: str, data: bytes) -> None:
        """Into the node's own process, in order, after a delay: a paused one receives it when it wakes."""
        tag, name = self._subscribed[channel]

        def arrive() -> None:
            if self._loop in self._timeline.loops and self.is_subscribed(channel):
                self._loop.call_soon(self._on_message, tag, name, data)

        self._timeline.at(SLOWEST, arrive)

    def mend(self) -> None:
        """The connection is a new one: what was published meanwhile was missed."""
        if self._loop in self._timeline.loops:
            self._loop.call_soon(self.reconnected)

    def _delay(self) -> float:
        return self._dice.uniform(FASTEST, SLOWEST)
