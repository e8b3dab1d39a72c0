"""Three nodes and a real Redis, with many SDKs, while things break; judged by the simulated world's oracles.

The short form is part of `make test`; the long one (2,000 SDKs, a minute of standstill) is `make soak`. Faults that
are shown by another one of these, or in virtual time alone (`tests/testing/sim`), are `make soak` in both forms.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.forms import Form
from tests.cluster.nodes import TIMERS, Cluster
from tests.support.redis_server import RedisServer, single
from tests.support.sim import oracles

pytestmark = [pytest.mark.slow, pytest.mark.waiting]


@dataclass
class Place:
    """Redis with the durable settings that one server can have, and three nodes."""

    redis: RedisServer
    cluster: Cluster


@pytest.fixture(scope="module")
def place(form: Form) -> Iterator[Place]:
    with (
        tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory,
        single("--appendonly", "yes", "--appendfsync", "always") as redis,
    ):
        cluster = Cluster.of(redis.url, Path(directory), grace=form.grace)
        try:
            yield Place(redis, cluster.start())
        finally:
            cluster.end()


@pytest.fixture
def whole(place: Place) -> Iterator[Place]:
    """The place, with all nodes up before and after."""
    place.cluster.repair()
    yield place
    place.redis.resume()
    place.cluster.repair()


async def _begin(crowd: Crowd, form: Form) -> None:
    await crowd.come(form.people)
    crowd.live()
    await asyncio.sleep(1.0)


async def _end(crowd: Crowd) -> None:
    """The oracles at rest; then nobody was lost."""
    await crowd.calm()
    took = await crowd.settled()
    print(f"at rest after {took:.1f} s")
    crowd.nobody_was_lost()


async def test_a_node_is_killed(whole: Place, form: Form) -> None:
    async with crowd_at(whole.cluster, seed=101) as (crowd,):
        await _begin(crowd, form)
        whole.cluster.nodes[1].kill()
        await asyncio.sleep(3.0)
        await _end(crowd)


@pytest.mark.soak  # in make test: tests/testing/sim/test_bounds.py
async def test_who_vanishes_with_his_node_is_gone_within_the_bound(whole: Place, form: Form) -> None:
    async with crowd_at(whole.cluster, seed=102) as (crowd,):
        await crowd.come(form.people // 3)
        node = whole.cluster.nodes[2]
        victims = {one.id for one in await crowd.sessions() if one.node == node.name}
        assert victims
        at = time.time()
        node.kill()
        for member in crowd.members:
            if member.sdk._runner.machine.session_id in victims:
                member.die()
        while victims & {one.id for one in await crowd.sessions()}:
            assert time.time() - at < form.ghost_bound, "ghosts"
            await asyncio.sleep(0.2)
        assert time.time() - at > form.grace, "a grace was cut short"
        await crowd.settled()
        ends = {one.session_id: one for one in await crowd.events() if one.type == "session.ended"}
        assert {ends[one].data["reason"] for one in victims} == {"timeout"}


@pytest.mark.parametrize("seconds", [*(pytest.param(one, marks=pytest.mark.soak) for one in (5.0, 15.0)), "standstill"])
async def test_a_node_stands_still(whole: Place, form: Form, seconds: float | str) -> None:
    """SIGSTOP, shorter than a lease and longer: what it missed is not undone when it continues."""
    async with crowd_at(whole.cluster, seed=103) as (crowd,):
        await _begin(crowd, form)
        whole.cluster.nodes[0].pause()
        await asyncio.sleep(form.standstill if isinstance(seconds, str) else seconds)
        whole.cluster.nodes[0].resume()
        await asyncio.sleep(1.0)
        await _end(crowd)


async def test_redis_stands_still(whole: Place, form: Form) -> None:
    """Nothing ends because of it (promise 9)."""
    async with crowd_at(whole.cluster, seed=104) as (crowd,):
        await _begin(crowd, form)
        whole.redis.pause()
        await asyncio.sleep(form.standstill)
        assert all(node.is_running for node in whole.cluster.nodes)
        whole.redis.resume()
        await _end(crowd)


@pytest.mark.soak  # in make test: without its data, which is harder
async def test_redis_is_restarted_with_its_data(whole: Place, form: Form) -> None:
    async with crowd_at(whole.cluster, seed=105) as (crowd,):
        await _begin(crowd, form)
        await asyncio.to_thread(whole.redis.kill)
        await asyncio.sleep(2.0)
        await asyncio.to_thread(whole.redis.start)
        await _end(crowd)


async def test_redis_is_restarted_without_its_data(whole: Place, form: Form) -> None:
    """What the nodes hold is written back (S15); events of before are gone, so ends cannot be counted."""
    async with crowd_at(whole.cluster, seed=106) as (crowd,):
        await _begin(crowd, form)
        await crowd.calm()
        await crowd.settled()
        await asyncio.to_thread(whole.redis.kill)
        shutil.rmtree(whole.redis.directory / "appendonlydir")
        await asyncio.to_thread(whole.redis.start)
        took = await crowd.settled(
            (
                oracles.versions_only_grow,
                oracles.is_open_never_lies,
                oracles.watchers_converged,
                oracles.updates_are_kept,
            ),
        )
        print(f"restored after {took:.1f} s")
        crowd.nobody_was_lost()
        assert len(await crowd.sessions()) == form.people
        crowd.live()
        await asyncio.sleep(2.0)
        await crowd.calm()
        await crowd.settled((oracles.versions_only_grow, oracles.is_open_never_lies, oracles.watchers_converged))


async def test_all_nodes_are_restarted_one_after_the_other(whole: Place, form: Form) -> None:
    """No session ends, nobody is shown as gone (promise 8)."""
    async with crowd_at(whole.cluster, seed=107) as (crowd,):
        await crowd.come(form.people)
        await crowd.settled()
        before = len(await crowd.events())
        longest = await asyncio.to_thread(whole.cluster.rolling_restart)
        print(f"a node took {longest:.1f} s to drain")
        assert longest < 2 * TIMERS["drain_limit"]
        await crowd.settled()
        crowd.nobody_was_lost()
        news = (await crowd.events())[before:]
        assert {one.type for one in news} <= {"session.resumed", "session.detached"}, {one.type for one in news}
        gone = [one for member in crowd.members for seen in member.seen.values() for one in seen]
        assert {one.presence.value for one in gone} <= {"online"}
