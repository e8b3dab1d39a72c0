"""What is kept of the events of an application is bounded (S17)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from greenroom.engines.base import EventLimits
from greenroom.engines.redis import trimming
from greenroom.engines.redis.store import FunctionCall, Reply
from greenroom.engines.redis.trimming import trim
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.engine_contract import APP
from tests.engines.redis.worlds import LuaWorld


def limited(**limits: int) -> tuple[LuaWorld, EventLimits]:
    """A world that keeps few events."""
    world = LuaWorld()
    world.event_limits = EventLimits(**limits)
    return world, world.event_limits


async def test_s17_the_oldest_events_of_an_application_go_and_the_reader_learns_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trimming, "AT_ONCE", 2)
    world, limits = limited(count=60)
    async with world as w:
        await w.open("first")
        page = await w.engine.outbox.read(APP, None, 1)
        for n in range(60):
            await w.open(f"user-{n}")
        await w.open("user", app="other")
        dropped = await trim(w.node_store, limits)
        kept = await w.events()
        assert len(kept) <= 60
        assert len(kept) + dropped == 122
        assert await trim(w.node_store, limits) == 0
        assert len(await w.events("other")) == 2, "one tenant's events never cost another's"
        after = await w.engine.outbox.read(APP, page.cursor, 500)
        assert after.gap + len(after.items) == 121


async def test_s17_bytes_count_too() -> None:
    world, limits = limited(size=10_000)
    async with world as w:
        for n in range(40):
            await w.open(f"user-{n}", name="n" * 200)
        assert await trim(w.node_store, limits) > 0
        kept = await w.events()
        assert sum(len(repr(event)) for event in kept) < 40_000


async def test_two_nodes_that_trim_at_once_drop_no_more_than_one() -> None:
    world, limits = limited(count=60)
    async with world as w:
        for n in range(60):
            await w.open(f"user-{n}")
        await asyncio.gather(trim(w.node_store, limits), trim(w.node_store, limits))
        assert len(await w.events()) >= 60 - 64 // 2


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
