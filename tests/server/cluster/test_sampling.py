"""The history of headcounts: one node at a time keeps it, for all applications that have sessions."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.engines.base import Headcount
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.server.cluster import sampling
from greenroom.server.cluster.sampling import Sampler
from greenroom.testing.engine_world import APP, EmbeddedWorld, World


def sampler_of(w: World, node: str, *applications: str, period: float = 30.0) -> Sampler:
    return Sampler(
        w.engine,
        node=node,
        applications=lambda: applications,
        may_act=lambda: True,
        wall=lambda: w.now_ms() / 1000,
        monotonic=asyncio.get_running_loop().time,
        period=period,
    )


async def online(w: World, app: str = APP) -> list[int]:
    return [one.online for one in await w.engine.statistics.history(app)]


async def test_one_of_the_nodes_counts_and_another_goes_on_when_it_is_gone() -> None:
    async with EmbeddedWorld() as w:
        await w.client("alice")
        one, two = sampler_of(w, "node-1", APP), sampler_of(w, "node-2", APP)
        await one.once()
        await two.once()
        assert await online(w) == [1]
        await w.client("bob")
        await w.advance(30)
        await two.once()  # node-1 is gone: no turn is lost
        assert await online(w) == [1, 2]


async def test_whoever_has_nobody_left_is_counted_once_more() -> None:
    async with EmbeddedWorld() as w:
        alice = await w.client("alice")
        there = [APP]
        sampler = Sampler(
            w.engine, node="node-1", applications=lambda: there, may_act=lambda: True,
            wall=lambda: w.now_ms() / 1000, monotonic=asyncio.get_running_loop().time,
        )  # fmt: skip
        await sampler.once()
        await alice.close()
        there.clear()
        for _ in range(3):
            await w.advance(30)
            await sampler.once()
        assert await online(w) == [1, 0]


async def test_where_time_is_short_those_who_waited_longest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "PAUSE", 0.0)
    async with EmbeddedWorld() as w:
        now = [0.0]

        async def slow(app: str) -> Headcount:
            now[0] += 10.0
            return Headcount(1)

        monkeypatch.setattr(w.engine.statistics, "count", slow)
        applications = [f"app-{number}" for number in range(6)]
        sampler = Sampler(
            w.engine, node="node-1", applications=lambda: applications, may_act=lambda: True,
            wall=lambda: w.now_ms() / 1000, monotonic=lambda: now[0],
        )  # fmt: skip
        for _ in range(3):
            await w.advance(30)
            await sampler.once()
            now[0] += 30.0
        kept = [len(await w.engine.statistics.history(app)) for app in applications]
        assert sum(kept) == 6, "two in each turn"
        assert set(kept) == {1}


async def test_an_engine_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with EmbeddedWorld() as w:
        await w.client("alice")
        sampler = sampler_of(w, "node-1", APP)
        engine = w.engine
        assert isinstance(engine, EmbeddedEngine)
        away = EmbeddedEngine(":memory:")
        monkeypatch.setattr(engine.statistics, "count", away.statistics.count)
        await sampler.once()
        monkeypatch.undo()
        await w.advance(30)
        await sampler.once()
        assert await online(w) == [1]


async def test_it_runs_at_the_instants_of_the_wall_clock_and_only_where_it_may() -> None:
    async with EmbeddedWorld() as w:
        await w.client("alice")
        sampler = Sampler(
            w.engine, node="node-1", applications=lambda: [APP], may_act=lambda: False,
            wall=lambda: 0.0, monotonic=asyncio.get_running_loop().time, period=0.01,
        )  # fmt: skip
        waiting = asyncio.create_task(sampler.run())
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await online(w) == []
