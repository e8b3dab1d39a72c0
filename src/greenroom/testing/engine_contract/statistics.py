"""Headcounts, now and kept."""

from __future__ import annotations

from greenroom.engines.base import SAMPLES, Headcount
from greenroom.testing.engine_contract.base import ContractBase
from greenroom.testing.engine_world import APP, World


class StatisticsContract(ContractBase):
    """Counting, and the history of it."""

    async def test_participants_and_sessions_are_counted_by_presence(self) -> None:
        async with self.make_world() as w:
            assert await _count(w) == (0, 0, 0, 0)
            phone, desk = await w.client("alice"), await w.client("alice")
            bob = await w.client("bob")
            await w.client("carol", app="app-2")
            assert await _count(w) == (2, 0, 3, 0)
            await phone.detach()
            assert await _count(w) == (2, 0, 2, 1)
            await desk.detach()
            assert await _count(w) == (1, 1, 1, 2)
            await bob.close()
            assert await _count(w) == (0, 1, 0, 2)
            assert await _count(w, "app-2") == (1, 0, 1, 0)
            await w.advance(60)
            assert await _count(w) == (0, 0, 0, 0)
            headcount = await w.engine.statistics.count(APP)
            assert abs(headcount.at - w.now_ms()) < 5_000

    async def test_the_history_is_kept_in_order_and_bounded(self) -> None:
        async with self.make_world() as w:
            statistics = w.engine.statistics
            assert await statistics.history(APP) == ()
            given = [Headcount(10**12 + number, number, 1, 2, 3) for number in range(SAMPLES + 3)]
            for headcount in given:
                await statistics.keep(APP, headcount)
            await statistics.keep("app-2", given[0])
            assert await statistics.history(APP) == tuple(given[3:])
            assert await statistics.history("app-2") == (given[0],)

    async def test_the_history_outlives_the_process(self) -> None:
        async with self.make_world() as w:
            await w.engine.statistics.keep(APP, Headcount(1, 2, 3, 4, 5))
            if w.restartable:
                await w.restart()
            assert await w.engine.statistics.history(APP) == (Headcount(1, 2, 3, 4, 5),)


async def _count(w: World, app: str = APP) -> tuple[int, int, int, int]:
    found = await w.engine.statistics.count(app)
    return found.online, found.unreachable, found.attached, found.detached
