"""Virtual time: nothing waits, order is fixed, processes pause and die apart from each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.sim.loop import ProcessClock, StuckError, Timeline, start


@pytest.fixture
def timeline() -> Iterator[Timeline]:
    made = Timeline()
    yield made
    made.close()


def test_an_hour_passes_at_once_and_in_order(timeline: Timeline) -> None:
    first, second = timeline.make_loop("first"), timeline.make_loop("second")
    seen: list[tuple[str, float]] = []

    async def life(name: str, delay: float) -> None:
        for _ in range(3):
            await asyncio.sleep(delay)
            seen.append((name, asyncio.get_running_loop().time() - 1000.0))

    start(first, life("slow", 1200.0))
    start(second, life("quick", 500.0))
    timeline.run(3600.0)
    assert seen == [
        ("quick", 500.0), ("quick", 1000.0), ("slow", 1200.0), ("quick", 1500.0), ("slow", 2400.0), ("slow", 3600.0),
    ]  # fmt: skip


def test_a_paused_process_does_nothing_and_wakes_up_late(timeline: Timeline) -> None:
    loop = timeline.make_loop("node")
    woke: list[float] = []

    async def life() -> None:
        await asyncio.sleep(1.0)
        woke.append(timeline.now - 1000.0)

    start(loop, life())
    timeline.run(0.0)
    timeline.pause(loop)
    timeline.run(60.0)
    assert woke == []
    timeline.wake(loop)
    timeline.run(0.0)
    assert woke == [60.0]


def test_a_killed_process_never_runs_its_clean_up(timeline: Timeline) -> None:
    loop = timeline.make_loop("node")
    seen: list[str] = []

    async def life() -> None:
        try:
            await asyncio.sleep(10.0)
        finally:
            seen.append("cleaned up")

    task = start(loop, life())
    timeline.run(1.0)
    timeline.forget(loop)
    timeline.run(60.0)
    assert seen == []
    assert not task.done()


def test_calls_end_or_say_that_they_are_stuck(timeline: Timeline) -> None:
    loop = timeline.make_loop("app")

    async def answer() -> int:
        await asyncio.sleep(5.0)
        return await asyncio.to_thread(lambda: 7)

    assert timeline.call(loop, answer()) == 7
    with pytest.raises(StuckError):
        timeline.call(loop, asyncio.Event().wait(), within=10.0)


def test_what_happens_between_processes_has_its_time(timeline: Timeline) -> None:
    clock = ProcessClock(timeline, offset=-3.0)
    seen: list[float] = []
    timeline.at(2.0, lambda: seen.append(timeline.now))
    timeline.at(1.0, lambda: seen.append(timeline.now))
    timeline.run(5.0)
    assert seen == [1001.0, 1002.0]
    assert clock.now_ms() == 1_700_000_002_000
