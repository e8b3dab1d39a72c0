"""Counts are kept for a while, and counting never takes most of the time."""

from __future__ import annotations

import asyncio

from greenroom.engines.base import Headcount
from greenroom.server.cluster.counts import KEEP, SHARE, ApplicationCounter


class SlowStatistics:
    """Counting takes `seconds`, on the test's clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 100.0
        self.counted = 0

    async def count(self, app: str) -> Headcount:
        await asyncio.sleep(0)
        self.now += self.seconds
        self.counted += 1
        return Headcount(self.counted, 1, 2, 3, 4)

    async def keep(self, app: str, headcount: Headcount) -> None:
        raise NotImplementedError

    async def history(self, app: str) -> tuple[Headcount, ...]:
        return (Headcount(1, 1, 2, 3, 4),)


async def test_counts_are_good_for_two_seconds_and_counted_once_for_all_who_ask() -> None:
    statistics = SlowStatistics(0.01)
    counter = ApplicationCounter(statistics, lambda: statistics.now)
    first = await asyncio.gather(*(counter.count("a") for _ in range(5)))
    assert (statistics.counted, {one.at for one in first}) == (1, {1})
    assert (first[0].participants.online, first[0].participants.unreachable) == (1, 2)
    assert (first[0].sessions.attached, first[0].sessions.detached) == (3, 4)
    await counter.count("b")
    assert statistics.counted == 2
    statistics.now += KEEP - 0.1
    assert (await counter.count("a")).at == 1
    statistics.now += 0.2
    assert (await counter.count("a")).at == 3
    assert [one.sessions.detached for one in await counter.history("a")] == [4]


async def test_where_counting_takes_long_it_is_done_less_often() -> None:
    statistics = SlowStatistics(1.0)
    counter = ApplicationCounter(statistics, lambda: statistics.now)
    await counter.count("a")
    statistics.now += SHARE - 0.1
    assert (await counter.count("a")).at == 1
    statistics.now += 0.2
    assert (await counter.count("a")).at == 2
