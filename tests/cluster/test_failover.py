"""Redis is failed over by Sentinel, and a node is cut off from Redis while its clients still reach it."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenroom.model import RegistryState
from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.forms import Form
from tests.cluster.nodes import TIMERS, Cluster, NodeProcess
from tests.support.patience import PATIENCE
from tests.support.redis_server import DURABLE, RedisServer, SentinelTrio, sentinel_trio, single, wait_for
from tests.support.redis_server import Cluster as RedisCluster
from tests.support.redis_server import cluster as redis_cluster

pytestmark = [pytest.mark.slow, pytest.mark.waiting]


@pytest.fixture
def durable(form: Form) -> Iterator[tuple[SentinelTrio, Cluster]]:
    """Three nodes on the durable profile (S16)."""
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, sentinel_trio(*DURABLE) as trio:
        cluster = Cluster.of(trio.url, Path(directory), grace=form.grace)
        try:
            yield trio, cluster.start()
        finally:
            cluster.end()


async def _fail_over(crowd: Crowd, old: RedisServer, is_over: Callable[[], bool]) -> None:
    """The master is paused while the crowd lives, until another is. It is not killed: then it would lose nothing."""
    crowd.live()
    await crowd.has_done(20)
    old.pause()
    await asyncio.to_thread(wait_for, is_over, "the failover")
    await crowd.has_done(20)
    old.resume()
    await crowd.has_done(60)
    await crowd.calm()
    print(f"at rest after {await crowd.settled():.1f} s")
    crowd.nobody_was_lost()


async def test_a_paused_master_is_failed_over_and_nothing_acknowledged_is_lost(
    durable: tuple[SentinelTrio, Cluster], form: Form
) -> None:
    trio, cluster = durable
    async with crowd_at(cluster, seed=301) as (crowd,):
        await crowd.come(form.people)
        old = await asyncio.to_thread(trio.master)
        await _fail_over(crowd, old, lambda: trio.master() is not old)


@pytest.fixture
def sharded(form: Form) -> Iterator[tuple[RedisCluster, Cluster]]:
    """Three nodes on a Redis Cluster with the durable profile: three masters, a replica each."""
    with (
        tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory,
        redis_cluster(*DURABLE, replicated=True) as redis,
    ):
        nodes = Cluster.of(f"{redis.url}?wait_replicas=1", Path(directory), grace=form.grace)
        try:
            yield redis, nodes.start()
        finally:
            nodes.end()


def _is_master(server: RedisServer) -> bool:
    role = server.execute("ROLE")
    return isinstance(role, list | tuple) and role[0] in (b"master", "master")


async def test_r2_a_redis_cluster_that_loses_a_master_leaves_rosters_as_their_sessions_say(
    sharded: tuple[RedisCluster, Cluster], form: Form
) -> None:
    """A third of the partitions is away, of rooms and of their members' sessions, in the middle of joins and leaves."""
    redis, cluster = sharded
    async with crowd_at(cluster, seed=303) as (crowd,):
        await crowd.come(form.people)
        await crowd.gather()
        new = redis.replicas[0]
        await _fail_over(crowd, redis.servers[0], lambda: _is_master(new))
        assert any(room.is_member for member in crowd.members for room in member.rooms.values())


class Namespace:
    """A network namespace with two cables: by one its clients come, by the other it reaches Redis."""

    def __init__(self) -> None:
        self.name = f"greenroom-{id(self) & 0xFFFF:x}"
        tag = self.name[-4:].strip("-")
        self.cables = {"c": f"gr{tag}c", "r": f"gr{tag}r"}
        self.net = id(self) >> 8 & 0x3F
        self.addresses = {"c": f"10.213.{self.net}", "r": f"10.213.{self.net + 64}"}

    @property
    def inside(self) -> str:
        return f"{self.addresses['c']}.2"

    @property
    def redis(self) -> str:
        return f"{self.addresses['r']}.1"

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    def make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        for end, cable in self.cables.items():
            _ip("link", "add", cable, "type", "veth", "peer", "name", f"{cable}x", "netns", self.name)
            _ip("addr", "add", f"{self.addresses[end]}.1/24", "dev", cable)
            _ip("-n", self.name, "addr", "add", f"{self.addresses[end]}.2/24", "dev", f"{cable}x")
            _ip("link", "set", cable, "up")
            _ip("-n", self.name, "link", "set", f"{cable}x", "up")

    def cut(self) -> None:
        """The cable to Redis is pulled: nobody is notified."""
        _ip("link", "set", self.cables["r"], "down")

    def mend(self) -> None:
        _ip("link", "set", self.cables["r"], "up")

    def remove(self) -> None:
        for cable in self.cables.values():
            subprocess.run(["ip", "link", "del", cable], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def namespace() -> Iterator[Namespace]:
    one = Namespace()
    try:
        try:
            one.make()
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            pytest.skip(f"network namespaces are not permitted here: {error}")
        yield one
    finally:
        one.remove()


async def _fenced(crowd: Crowd, node: NodeProcess) -> None:
    """The node noticed, and refuses newcomers; those it has may stay."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(node.ask, "/readyz") == 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


@pytest.fixture
def torn(form: Form) -> Iterator[tuple[Namespace, Cluster]]:
    """Three nodes, the last of which reaches Redis by a cable that can be pulled."""
    with (
        tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory,
        namespace() as network,
        single("--bind", f"127.0.0.1 {network.redis}", "--protected-mode", "no") as redis,
    ):
        root = Path(directory)
        away = f"redis://{network.redis}:{redis.port}/0"
        settings = {**TIMERS, "grace": form.grace}
        lonely = NodeProcess("node3", away, root, host=network.inside, prefix=network.prefix, settings=settings)
        others = [NodeProcess(name, redis.url, root, settings=settings) for name in ("node1", "node2")]
        cluster = Cluster([*others, lonely])
        try:
            yield network, cluster.start()
        finally:
            cluster.end()


async def test_a_node_that_is_cut_off_from_redis_loses_nobody(torn: tuple[Namespace, Cluster], form: Form) -> None:
    """It stops acting before its lease lapses; its clients are asked to move, and what it held is not undone later."""
    network, cluster = torn
    lonely = cluster.nodes[2]
    async with crowd_at(cluster, seed=302) as (crowd,):
        await crowd.come(form.people)
        assert "node3" in await _connected_to(crowd)
        crowd.live()
        network.cut()
        await _fenced(crowd, lonely)
        await asyncio.sleep(form.standstill)
        await crowd.calm()
        await crowd.settled()
        assert await _connected_to(crowd) == {"node1", "node2"}
        network.mend()
        await asyncio.to_thread(lonely.wait)
        print(f"at rest after {await crowd.settled():.1f} s")
        crowd.nobody_was_lost()


async def _connected_to(crowd: Crowd) -> set[str]:
    return {one.node for one in await crowd.sessions() if one.state is RegistryState.ATTACHED}
