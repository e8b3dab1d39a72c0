"""Participants come and go under the eyes of watchers."""

from __future__ import annotations

import pytest

from greenroom.bench.churn import churn
from tests.bench.target import target


@pytest.mark.slow
async def test_watchers_are_notified_of_those_who_come_and_go() -> None:
    async with target(5) as place:
        found = await churn(place, watchers=2, crowd=3, per_second=8.0, seconds=0.5)
    assert (found.scenario, found.errors) == ("churn", {})
    assert found.operations in (2, 4), "one comes each quarter of a second, and goes"
    assert found.parameters == {"count": found.operations // 2, "watchers": 2, "crowd": 3, "perSecond": 8.0}
    assert found.more["notices"] >= 2, "each of the two watchers"
    assert 0 < found.latency["max"] < 60_000
