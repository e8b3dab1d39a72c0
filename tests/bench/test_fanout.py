"""One participant changes, many watch."""

from __future__ import annotations

import pytest

from greenroom.bench.fanout import fanout
from tests.bench.target import target


@pytest.mark.slow
async def test_each_update_reaches_each_watcher() -> None:
    async with target(4) as place:
        found = await fanout(place, watchers=3, updates=2)
    assert (found.scenario, found.operations, found.errors) == ("fanout", 3 * 2, {})
    assert found.parameters == {"count": 6, "watchers": 3, "updates": 2}
    assert found.more["last"]["max"] == found.latency["max"], "the last watcher of the slower update"


@pytest.mark.slow
async def test_watchers_that_cannot_open_are_not_waited_for() -> None:
    async with target(3) as place:
        place.tokens = [*place.tokens[:2], "no"]
        found = await fanout(place, watchers=2, updates=1)
    assert (found.parameters["watchers"], found.operations, sum(found.errors.values())) == (1, 1, 1)
