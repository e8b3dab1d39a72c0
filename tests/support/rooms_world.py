"""Rooms on the Redis in memory, with nodes that die between two calls, and what must be so in the end: rosters say what
rows say, and events report one `left` for each `joined`."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator

from greenroom.core.rooms.requests import RoomQuery, RosterQuery
from greenroom.engines.base import SessionQuery
from greenroom.engines.redis import RedisEngine
from greenroom.engines.redis.errors import outcome_open, unreachable
from greenroom.engines.redis.store import FunctionCall, Reply
from greenroom.engines.rooms import MARK_AGE, MARK_CLAIM
from greenroom.model import MemberRecord
from greenroom.testing.engine_world import APP
from tests.support.lua_redis import LuaServer, LuaStore
from tests.support.redis_world import RedisWorld
from tests.support.sim.cluster import fewer_partitions
from tests.support.sim.oracles import wrong_events

BOUND = MARK_AGE + MARK_CLAIM + 1.0
"""Seconds after which rosters follow, whoever died: a mark's age, a claim, a pass (R2)."""


class RoomStore(LuaStore):
    """A node's way to the Redis in memory. allowed: calls that are carried out before the node is dead; None: all.

    dice: others get between asking and carrying out, and between that and the answer; `trouble` is the share of calls
    that fail, carried out or not.
    """

    def __init__(self, server: LuaServer, dice: random.Random | None = None) -> None:
        super().__init__(server)
        self.allowed: int | None = None
        self.trouble = 0.0
        self._dice = dice

    async def call(self, call: FunctionCall) -> Reply:
        await self._others()
        if self.allowed is not None:
            if self.allowed <= 0:
                raise unreachable("the node is dead")
            self.allowed -= 1
        if self._fails():
            raise unreachable("simulated")
        reply = await super().call(call)
        await self._others()
        if self._fails():
            raise outcome_open("simulated")
        return reply

    def _fails(self) -> bool:
        return self._dice is not None and self._dice.random() < self.trouble

    async def _others(self) -> None:
        for _ in range(0 if self._dice is None else self._dice.randrange(4)):
            await asyncio.sleep(0)


class RoomsWorld(RedisWorld):
    """Time that no two calls share, and more nodes."""

    def __init__(self, dice: random.Random | None = None, *, clock_offset: Callable[[], int] = lambda: 0) -> None:
        self.server = LuaServer(lambda: self.now_ms() * 1000 + clock_offset() + self.server.calls)
        super().__init__("redis://in-process", self.server.lose_everything, store=lambda: RoomStore(self.server))
        self._dice = dice
        self._all_partitions = fewer_partitions()

    async def stop(self) -> None:
        await super().stop()
        self._all_partitions()

    async def another(self) -> tuple[RedisEngine, RoomStore]:
        """Another node on the same Redis; the test stops it."""
        store = RoomStore(self.server, self._dice)
        engine = RedisEngine("redis://in-process", store=store)
        await engine.start()
        return engine, store

    async def follow(self, seconds: float = BOUND) -> None:
        """Passes, one a second, with beats and reaping."""
        await self.advance(seconds)

    # -- losses ------------------------------------------------------------------------------------------------------

    def lose(self, partition: int, before: dict[bytes, object] | None = None) -> None:
        """One partition knows nothing any more, or what it knew before: its master failed."""
        tag = b"{p%d}" % partition
        data = self.server.commands.data
        for key in [key for key in data if tag in key]:
            del data[key]
        data.update({key: value for key, value in (before or {}).items() if tag in key})

    # -- oracles -----------------------------------------------------------------------------------------------------

    async def rows(self) -> dict[tuple[str, str], int]:
        """By room and participant: sessions whose row has the room."""
        found: Counter[tuple[str, str]] = Counter()
        for session in (await self.engine.registry.sessions(SessionQuery(app=APP, limit=1000))).items:
            found.update((room, session.participant_id) for room in session.rooms)
        return dict(found)

    async def rosters(self) -> dict[tuple[str, str], MemberRecord]:
        """By room and participant: who is in which roster."""
        found: dict[tuple[str, str], MemberRecord] = {}
        for room in (await self.engine.rooms.rooms(RoomQuery(app=APP, limit=1000))).items:
            roster = await self.engine.rooms.roster(RosterQuery(app=APP, room=room.name, limit=500))
            assert roster.count == len(roster.members), "the count is that of the members"
            found |= {(room.name, member.id): member for member in roster.members}
        return found

    async def wrong(self) -> list[str]:
        """What is not as it must be, a line each."""
        return [*await self.wrong_rows(), *wrong_events(await self.events())]

    async def wrong_rows(self) -> list[str]:
        """Where rosters do not say what rows say."""
        rows = await self.rows()
        members = {pair: member.sessions for pair, member in (await self.rosters()).items()}
        lines = [f"{pair} has {count} sessions, the roster says {members.get(pair)}" for pair, count in rows.items()
                 if members.get(pair) != count]  # fmt: skip
        lines += [f"{pair} is in the roster and has no session there" for pair in members if pair not in rows]
        lines += [f"left over: {key.decode()}" for key in self.left_over()]
        return lines

    def left_over(self) -> Iterator[bytes]:
        """Marks, and counter-marks whose row was not asked."""
        for key, value in self.server.commands.data.items():
            if key.endswith((b":rm", b":rn")) and value:
                yield key
            if b":M:" in key and any(b'"p":' in mark for field, mark in value.items() if field.startswith(b"!")):
                yield key
