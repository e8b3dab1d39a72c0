"""Storms, echo and idle sessions."""

from __future__ import annotations

from collections import Counter

import pytest

from greenroom.bench.figures import Stopwatch
from greenroom.bench.scenarios import echo, finding, heartbeats, idle, storm
from tests.bench.target import target


async def test_a_storm_opens_and_closes_each_once() -> None:
    looks: list[str] = []
    async with target(8) as place:
        place.begin, place.end = lambda: looks.append("begin"), lambda: looks.append("end")
        found = await storm(place, count=6, width=3, warm=2)
    assert (found.scenario, found.operations, found.errors) == ("storm", 6, {}), "warm opens do not count"
    assert found.parameters == {"count": 6, "inFlight": 3}
    assert [count for _, count in found.timeline] == [1, 2, 3, 4, 5, 6]
    assert found.rate == found.operations / found.seconds
    assert 0 < found.latency["p50"] <= found.latency["max"]
    assert looks == ["begin", "end"]


async def test_opens_that_fail_are_errors_and_no_operations() -> None:
    async with target(3) as place:
        place.tokens = [*place.tokens[:2], "no"]
        found = await storm(place, count=3, width=1)
    assert (found.operations, sum(found.errors.values())) == (2, 1)


async def test_an_echo_on_each_connection() -> None:
    async with target(3) as place:
        found = await echo(place, connections=3, count=12, pause=0.001)
    assert (found.operations, found.errors) == (12, {})
    assert found.parameters == {"count": 12, "connections": 3}


async def test_idle_sessions_stay() -> None:
    async with target(2) as place:
        found = await idle(place, count=2, seconds=0.2)
    assert (found.operations, found.errors, found.more["lost"]) == (2, {}, 0)
    assert found.parameters == {"count": 2, "seconds": 0.2}


@pytest.mark.slow
@pytest.mark.waiting
async def test_heartbeats_are_the_operations() -> None:
    async with target(2, ping_interval=1.0, pong_timeout=0.9) as place:
        found = await heartbeats(place, count=2, seconds=2.5)
    assert found.parameters == {"count": 0, "sessions": 2}
    assert found.operations >= 1
    assert found.rate == found.operations / found.seconds


def test_a_finding_of_what_was_timed() -> None:
    watch = Stopwatch()
    watch.seconds, watch.share = 2.0, 0.25
    found = finding("storm", {"inFlight": 4}, [0.001, 0.001, 0.001], watch, Counter({"no": 2}), [(1.0, 3)])
    assert (found.scenario, found.parameters) == ("storm", {"count": 3, "inFlight": 4})
    assert (found.operations, found.seconds, found.rate, found.generator_share) == (3, 2.0, 1.5, 0.25)
    assert (found.errors, found.timeline) == ({"no": 2}, [(1.0, 3)])
    assert set(found.latency.values()) == {1.003}
