"""The reaper: a pass a second, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from greenroom.core.rooms.requests import MembershipLost, Settled
from greenroom.engines.base import Reaped
from greenroom.errors import RoomsUnavailableError, ServiceUnavailableError
from greenroom.model import EndReason, SessionRecord
from greenroom.server.cluster.reaper import MAX_PASSES, Reaper


class FakeRegistry:
    def __init__(self, *results: Reaped | Exception) -> None:
        self.results = list(results)
        self.passes = 0

    async def reap(self, limit: int = 500) -> Reaped:
        self.passes += 1
        result = self.results.pop(0) if self.results else Reaped()
        if isinstance(result, Exception):
            raise result
        return result


class FakeRooms:
    def __init__(self, *results: Settled | Exception) -> None:
        self.results = list(results)
        self.passes = 0
        self.three = asyncio.Event()

    async def settle(self, limit: int = 500, *, compare: bool = False) -> Settled:
        self.passes += 1
        if self.passes == 3:
            self.three.set()
        result = self.results.pop(0) if self.results else Settled()
        if isinstance(result, Exception):
            raise result
        return result


def _reaper(
    registry: Any,
    received: list[tuple[str, EndReason]] | None = None,
    may_act: bool = True,
    rooms: Any = None,
    lost: list[MembershipLost] | None = None,
) -> Reaper:
    def notify(sessions: Sequence[SessionRecord], reason: EndReason) -> None:
        if received is not None:
            received.extend((one.id, reason) for one in sessions)

    parts: Any = rooms or FakeRooms()
    return Reaper(
        registry, parts, interval=0.001, may_act=lambda: may_act, notify=notify,
        notify_lost=([] if lost is None else lost).extend,
    )  # fmt: skip


def _ended(session_id: str, reason: EndReason | None = None) -> SessionRecord:
    return SessionRecord(id=session_id, app="a", participant_id="p", node="n", end_reason=reason)


async def test_it_continues_while_there_is_more_and_notifies_who_held_what_ended() -> None:
    received: list[tuple[str, EndReason]] = []
    registry = FakeRegistry(
        Reaped(ended=(_ended("1"),), more=True, lag=3.0), Reaped(ended=(_ended("2", EndReason.TOKEN_EXPIRED),))
    )
    reaper = _reaper(registry, received)
    await reaper.once()
    assert received == [("1", EndReason.TIMEOUT), ("2", EndReason.TOKEN_EXPIRED)]
    assert (registry.passes, reaper.ended, reaper.lag) == (2, 2, 0.0)


async def test_it_gives_others_their_turn() -> None:
    registry = FakeRegistry(*[Reaped(more=True)] * 100)
    await _reaper(registry).once()
    assert registry.passes == MAX_PASSES


async def test_a_failed_pass_is_followed_by_another() -> None:
    registry = FakeRegistry(ServiceUnavailableError("away"), ZeroDivisionError(), Reaped())
    reaper = _reaper(registry)
    await reaper.once()
    assert reaper.failing == "away"
    await reaper.once()
    assert reaper.failing == "unexpected error"
    await reaper.once()
    assert reaper.failing == ""


async def test_what_some_partitions_ended_is_notified_though_others_do_not_answer() -> None:
    notified: list[tuple[str, EndReason]] = []
    registry = FakeRegistry(Reaped(ended=(_ended("1"),), failing="away"), Reaped())
    reaper = _reaper(registry, notified)
    await reaper.once()
    assert (notified, reaper.failing) == ([("1", EndReason.TIMEOUT)], "away")
    await reaper.once()
    assert reaper.failing == ""


async def test_a_node_that_may_not_act_reaps_nothing() -> None:
    registry = FakeRegistry()
    task = asyncio.create_task(_reaper(registry, may_act=False).run())
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert registry.passes == 0


async def test_r2_rooms_are_settled_until_nothing_is_due_and_nodes_learn_what_was_lost() -> None:
    one, two = (MembershipLost(f"p1-{number}", "n1", 1, "standup", "ended") for number in range(2))
    lost: list[MembershipLost] = []
    rooms = FakeRooms(Settled(lost=(one,), more=True, lag=7.0), Settled(lost=(two,), lag=2.0), Settled(more=True))
    reaper = _reaper(FakeRegistry(), rooms=rooms, lost=lost)
    await reaper.settle_rooms()
    assert (lost, rooms.passes, reaper.rooms_lag) == ([one, two], 2, 2.0)


async def test_a_pass_over_rooms_that_failed_is_followed_by_another() -> None:
    rooms = FakeRooms(ServiceUnavailableError("away"), ZeroDivisionError(), RoomsUnavailableError(), Settled(lag=1.0))
    reaper = _reaper(FakeRegistry(), rooms=rooms)
    await reaper.settle_rooms()
    assert reaper.rooms_failing == "away"
    await reaper.settle_rooms()
    assert reaper.rooms_failing == "unexpected error"
    await reaper.settle_rooms()
    await reaper.settle_rooms()
    assert (reaper.rooms_failing, reaper.rooms_lag, reaper.failing) == ("", 1.0, "")


async def test_each_pass_over_sessions_is_one_over_rooms() -> None:
    registry, rooms = FakeRegistry(), FakeRooms()
    task = asyncio.create_task(_reaper(registry, rooms=rooms).run())
    await rooms.three.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert registry.passes - rooms.passes in (0, 1)
