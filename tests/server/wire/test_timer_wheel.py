"""One timer for all connections: late by a slot at most, and never a herd at once."""

from __future__ import annotations

import asyncio
import sys
from math import inf

from greenroom.server.wire.timer_wheel import TimerWheel


class _Item:
    def __init__(self) -> None:
        self.tick_at = inf
        self.ticks = 0

    def planned(self, at: float) -> None:
        self.tick_at = at

    def tick(self) -> None:
        self.ticks += 1


async def test_the_wheel_ticks_once_a_slot_late_at_most() -> None:
    at = 100.0
    wheel = TimerWheel(lambda: at)
    item, later = _Item(), _Item()
    wheel.schedule(item, 101.0)
    wheel.schedule(item, 105.0)  # later than what is planned: nothing changes
    wheel.schedule(later, 103.0)
    wheel.schedule(later, 101.9)  # earlier: counts
    wheel.schedule(_Item(), float("inf"))
    ticked_at: list[float] = []
    for _ in range(40):
        at += 0.1
        wheel._turn()
        if item.ticks and not ticked_at:
            ticked_at.append(at)
    assert 101.0 <= ticked_at[0] <= 101.36
    assert (item.ticks, later.ticks) == (1, 1)
    wheel.stop()


async def test_a_herd_on_one_slot_is_ticked_in_parts() -> None:
    at = 100.0
    wheel = TimerWheel(lambda: at)
    items = [_Item() for _ in range(1000)]
    for item in items:
        wheel.schedule(item, 100.5)
    at = 101.0
    wheel._turn()
    assert 0 < sum(item.ticks for item in items) < 1000
    for _ in range(20):
        await asyncio.sleep(0)
    assert sum(item.ticks for item in items) == 1000
    wheel.stop()


async def test_a_deadline_that_is_met_costs_one_look_and_is_forgotten() -> None:
    at = 100.0
    wheel = TimerWheel(lambda: at)
    item = _Item()
    assert wheel.after(item, 10.0) == 110.0
    assert 110.0 <= item.tick_at <= 110.25
    references = sys.getrefcount(item)
    at = 111.0
    wheel._turn()
    assert (item.ticks, item.tick_at) == (1, inf)
    assert sys.getrefcount(item) == references - 1
    wheel.stop()
