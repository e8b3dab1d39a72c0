"""A crowd in one room, at a real service that is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from greenroom.bench.client import RequestRefusedError, Target
from greenroom.bench.crowd import Crash, CrowdPlan, crowd, participant_id, times_to_reach
from greenroom.bench.minting import mint
from tests.acceptance.process import ServiceProcess, service
from tests.bench.target import target

MEMBERS = 12


async def _target(running: ServiceProcess, people: int) -> Target:
    names = [f"bench-{number}" for number in range(people)]
    tokens = await mint(running.url, running.key, running.secret, names)
    return Target("127.0.0.1", running.port, tokens, names)


@pytest.mark.slow
async def test_a_crowd_is_notified_of_everything_and_comes_back_when_its_node_is_killed(tmp_path: Path) -> None:
    plan = CrowdPlan(members=MEMBERS, changes=2, messages=2, churn=8.0, churn_seconds=0.5)
    async with service(tmp_path, ids_per_second=100_000) as running:
        target = await _target(running, MEMBERS)
        loop = asyncio.get_running_loop()

        async def start_again() -> None:
            await running.stop()
            await running.start()

        def revive() -> None:
            asyncio.run_coroutine_threadsafe(start_again(), loop).result()

        found = {one.scenario: one async for one in crowd(target, plan, Crash(running.kill, revive, target))}
    assert list(found) == ["join", "change", "message", "churn", "crash"]
    # While the node is away, attempts to come back fail; nothing else does.
    assert not [text for one in found.values() for text in one.errors if not text.startswith("failed: ")]
    assert found["join"].operations == found["crash"].operations == MEMBERS
    assert found["change"].operations == 2 * MEMBERS
    assert found["message"].operations == 2 * (MEMBERS - 1)
    assert found["churn"].operations == 2 * 2
    assert found["churn"].parameters["count"] == 2 * 2 * (MEMBERS - 2), "each change reached each who stayed"
    assert found["crash"].more["converged"] >= found["crash"].more["allBack"] > 0


@pytest.mark.slow
async def test_those_who_never_come_back_leave_a_counted_room(tmp_path: Path) -> None:
    plan = CrowdPlan(members=MEMBERS, counted=True, messages=2, churn=8.0, churn_seconds=0.5, away=0.5)
    grace = 8
    graces = dict.fromkeys(("grace", "grace_going_away", "grace_unconfirmed"), grace)
    async with service(tmp_path, ids_per_second=100_000, **graces) as running:
        target = await _target(running, MEMBERS)
        loop = asyncio.get_running_loop()

        def cut() -> None:
            for connection in list(target.connections)[: MEMBERS // 2]:
                loop.call_soon_threadsafe(connection.abort)

        found = {one.scenario: one async for one in crowd(target, plan, Crash(cut, None, target))}
    assert list(found) == ["join", "message", "churn", "crash"]
    assert [one.errors for one in found.values()] == [{}, {}, {}, {}]
    assert found["churn"].parameters["count"] > 0, "joins were counted"
    assert (found["crash"].parameters["lost"], found["crash"].parameters["away"]) == (MEMBERS // 2, MEMBERS // 4)
    assert found["crash"].operations == MEMBERS // 4
    assert found["crash"].more["converged"] > grace > found["crash"].more["allBack"]


def test_a_counted_join_has_arrived_with_the_first_count_that_has_it() -> None:
    joins = [(10, 1.0), (11, 1.5), (12, 2.0), (13, 9.0)]
    receipts = [(2.0, 11), (2.25, 11), (3.0, 12)]
    assert list(times_to_reach(joins, receipts)) == [1.0, 1.25, 0.5, 0.75, 1.0]


def test_a_token_says_whose_it_is() -> None:
    assert participant_id("e30.eyJzdWIiOiJwMS1hIn0.x") == "p1-a"


async def test_a_crowd_that_cannot_open_is_refused() -> None:
    async with target(1) as service:
        nobody = crowd(Target(service.host, service.port, ["x.y.z"], ["bench-0"]), CrowdPlan(members=1))
        with pytest.raises(RequestRefusedError, match="not all sessions"):
            await anext(nobody)
