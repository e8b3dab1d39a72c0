"""A look at the streams takes a moment, and events come meanwhile: none of them may cost an older one."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.engines.base import EventLimits
from greenroom.engines.redis.store import FunctionCall, Reply
from greenroom.engines.redis.trimming import trim
from greenroom.errors import ServiceUnavailableError
from tests.engines.redis.worlds import LuaWorld


class _Between:
    """The store, with something that happens between the counting and the trimming."""

    def __init__(self, world: LuaWorld) -> None:
        self._world = world
        self._calls = 0

    async def between(self) -> None:
        for n in range(40):
            await self._world.open(f"late-{n}")

    async def call_many(self, calls: Sequence[FunctionCall]) -> list[Reply | ServiceUnavailableError]:
        self._calls += 1
        if self._calls == 2:
            await self.between()
        return await self._world.node_store.call_many(calls)


async def test_s17_events_that_come_while_it_is_trimmed_push_none_out() -> None:
    async with LuaWorld() as w:
        for n in range(20):
            await w.open(f"early-{n}")
        before = [event.id for event in await w.events()]
        between: object = _Between(w)
        assert await trim(between, EventLimits(count=30)) == 10  # type: ignore[arg-type]
        after = [event.id for event in await w.events()]
        assert len(set(before) & set(after)) == 30
        assert len(after) == 110


async def test_s17_events_that_another_node_has_dropped_are_not_dropped_twice() -> None:
    async with LuaWorld() as w:
        for n in range(20):
            await w.open(f"early-{n}")

        class Raced(_Between):
            async def between(self) -> None:
                await trim(w.node_store, EventLimits(count=30))

        raced: object = Raced(w)
        await trim(raced, EventLimits(count=30))  # type: ignore[arg-type]
        assert len(await w.events()) == 30
