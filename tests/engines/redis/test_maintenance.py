"""What asks every partition takes what those that answer say."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.base import EventLimits
from greenroom.engines.redis import counts
from greenroom.engines.redis.store import FunctionCall
from greenroom.engines.redis.trimming import trim
from greenroom.model import PARTITIONS, partition_of
from greenroom.testing.engine_contract import APP, refused
from tests.engines.redis.worlds import LuaWorld


async def test_s8_what_partitions_ended_is_answered_though_another_is_away() -> None:
    """No other pass has them: the nodes that hold these sessions would not be notified of their ends."""
    async with LuaWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        away = f"p{partition_of(APP, b.participant_id)}"
        assert f"p{partition_of(APP, a.participant_id)}" != away
        await a.detach(40)
        await b.detach(40)
        await w.advance(39)
        w.server.fate = lambda call: "away" if call.tag == away else None
        await w.step(2)
        reaped = await w.engine.registry.reap()
        assert ([session.id for session in reaped.ended], bool(reaped.failing)) == ([a.id], True)
        w.server.fate = lambda call: None
        reaped = await w.engine.registry.reap()
        assert ([session.id for session in reaped.ended], reaped.failing) == ([b.id], "")
        w.server.fate = lambda call: "away"
        with refused(ErrorCode.SERVICE_UNAVAILABLE):
            await w.engine.registry.reap()


async def test_s17_events_are_trimmed_though_a_partition_is_away() -> None:
    async with LuaWorld() as w:
        clients = [await w.client(f"user-{n}") for n in range(60)]
        away = f"p{partition_of(APP, clients[0].participant_id)}"
        w.server.fate = lambda call: "away" if call.tag == away else None
        assert await trim(w.node_store, EventLimits(count=60)) > 0


async def test_s3_opens_that_wait_for_a_count_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "FRESH", 0.0)
    async with LuaWorld() as w:
        asked: Counter[str] = Counter()

        def note(call: FunctionCall) -> None:
            asked[call.function] += 1

        w.server.fate = note
        await asyncio.gather(*(w.open(f"user-{n}", max_application_sessions=50) for n in range(20)))
        assert (asked["open"], asked["counts"]) == (20, PARTITIONS)
