"""Counts of each application: summed once for all who wait, and what this node sees in passing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from greenroom.engines.redis.counts import FRESH, Counts, counted
from greenroom.engines.redis.store import FunctionCall, Reply
from greenroom.errors import ServiceUnavailableError, TooManySessionsError
from greenroom.model import PARTITIONS
from tests.engines.redis.worlds import LuaWorld
from tests.support.sim.loop import in_virtual_time

Answer = Reply | ServiceUnavailableError


class _Store:
    """Two sessions of an application in each partition."""

    def __init__(self) -> None:
        self.asked = 0
        self.reply: Answer = [b"ok", [b"app", b"2"]]

    async def call_many(self, calls: Sequence[FunctionCall]) -> list[Answer]:
        self.asked += 1
        await asyncio.sleep(0.1)
        return [self.reply for _ in calls]


def of(store: object) -> Counts:
    counts: Any = Counts
    made: Counts = counts(store, "counts")
    return made


def test_all_who_wait_are_served_by_one_question_and_for_two_seconds() -> None:
    async def life() -> None:
        store = _Store()
        counts = of(store)
        await asyncio.gather(*(counts.refresh() for _ in range(5)))
        assert (store.asked, counts.totals()) == (1, {"app": 2 * PARTITIONS})
        assert counts.others(3, "app") == 2 * (PARTITIONS - 1)
        assert counts.others(3, "other") == 0
        await asyncio.sleep(FRESH - 0.2)
        await counts.refresh()
        assert store.asked == 1
        await asyncio.sleep(0.2)
        await counts.refresh()
        assert store.asked == 2

    in_virtual_time(life())


def test_a_question_that_failed_fails_all_who_wait_and_is_asked_again() -> None:
    async def life() -> None:
        store = _Store()
        counts = of(store)
        store.reply = ServiceUnavailableError("away")
        failed = await asyncio.gather(*(counts.refresh() for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in failed] == [ServiceUnavailableError] * 3
        assert counts.totals() == {}
        store.reply = [b"ok", [b"app", b"1"]]
        await counts.refresh()
        assert counts.totals() == {"app": PARTITIONS}

    in_virtual_time(life())


def test_who_gives_up_takes_the_question_from_nobody() -> None:
    async def life() -> None:
        counts = of(_Store())
        first, second = (asyncio.create_task(counts.refresh()) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        await second
        assert counts.totals()["app"] == 2 * PARTITIONS
        await counts.stop()

    in_virtual_time(life())


def test_what_is_under_way_ends_with_the_node() -> None:
    async def life() -> None:
        counts = of(_Store())
        waiting = asyncio.create_task(counts.refresh())
        await asyncio.sleep(0.05)
        await counts.stop()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not counts.is_fresh()

    in_virtual_time(life())


async def test_what_a_call_saw_in_passing_counts_at_once() -> None:
    counts = of(_Store())
    counts.note(1, "app", 5)
    counts.note_all(2, [b"app", 7, b"gone", 0])
    assert counts.totals() == {"app": 12}
    assert [counts.others(number, "app") for number in (0, 1, 2)] == [12, 7, 5]
    counts.note(1, "app", 0)
    assert counts.totals() == {"app": 7}


def test_a_hash_that_is_none_is_an_error() -> None:
    assert counted([b"a", b"1", b"b", b"2"]) == {"a": 1, "b": 2}
    for flat in ([b"a"], [b"a", b"many"]):
        with pytest.raises(ValueError):
            counted(flat)


async def test_s3_an_open_under_a_limit_counts_first() -> None:
    async with LuaWorld() as w:
        other = await w.another_node()
        for number in range(3):
            await w.open(f"user-{number}")
        with pytest.raises(TooManySessionsError):
            await other.registry.open(w.open_request("late", max_application_sessions=3))
        await other.registry.open(w.open_request("late", max_application_sessions=4))
        await other.stop()
