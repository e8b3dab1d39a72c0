"""How soon watchers learn that a participant is gone, and whether one is taken for gone who is not."""

from __future__ import annotations

import pytest

from greenroom.bench.failure_detection import detect_failures
from tests.bench.target import target
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

GRACE = dict.fromkeys(("grace", "grace_going_away", "grace_unconfirmed"), 0.5)


async def test_those_who_went_are_reported_and_those_who_stayed_are_not() -> None:
    async with target(5, ping_interval=2.0, pong_timeout=1.5, **GRACE) as place:
        found = await detect_failures(place, each=1, bystanders=2, limit=PATIENCE)
    assert (found.scenario, found.operations, found.errors) == ("failure-detection", 2, {})
    assert found.more["falseLeaves"] == 0
    assert found.more["vanished_offline_s"] >= found.more["reset_offline_s"] > 0.5, "silence is noticed later"


async def test_an_end_that_does_not_come_in_time_is_an_error() -> None:
    async with target(3) as place:
        found = await detect_failures(place, each=1, bystanders=0, limit=0.2)
    assert (found.operations, found.errors) == (0, {"no end was received": 2})
    assert found.more["falseLeaves"] == 0
