"""A rolling upgrade of real processes: version N and N+1 side by side on one Redis (S21)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenroom.testing.redis_server import RedisServer, single
from tests.cluster.crowd import crowd_at
from tests.cluster.next_version import FIELD, NEXT, VALUE
from tests.cluster.nodes import Cluster
from tests.cluster.test_operating import seen

pytestmark = [pytest.mark.slow, pytest.mark.serial]

NEXT_MODULE = "tests.cluster.next_version"
PEOPLE = 60


@pytest.fixture
def place() -> Iterator[tuple[RedisServer, Cluster]]:
    """node1 and node2 as shipped, node3 of the next version."""
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, single("--appendonly", "yes") as redis:
        cluster = Cluster.of(redis.url, Path(directory))
        cluster.nodes[2].module = NEXT_MODULE
        try:
            yield redis, cluster.start()
        finally:
            cluster.end()


def stored(redis: RedisServer, partition: str, session_id: str, field: bytes) -> object:
    return redis.execute("HGET", f"greenroom:{{{partition}}}:s:{session_id}", field.decode())


async def test_s21_a_rolling_upgrade_ends_nobody_and_keeps_what_only_the_newer_one_knows(
    place: tuple[RedisServer, Cluster],
) -> None:
    redis, cluster = place
    async with crowd_at(cluster, seed=401) as (crowd,):
        await crowd.come(PEOPLE)
        items = await seen(cluster.nodes[0], "node1", "node2", "node3")
        assert sorted(one["report"]["version"] == NEXT for one in items) == [False, False, True]
        libraries = str(redis.execute("FUNCTION", "LIST"))
        assert "greenroom_2_next" in libraries
        assert "greenroom_1_" in libraries

        # The newer node's sessions, which it wrote a field to that the older ones do not know, go to the older ones.
        futures = [one for one in await crowd.sessions() if one.node == "node3"]
        assert futures
        crowd.live(pace=40.0)
        cluster.nodes[2].terminate()
        assert await asyncio.to_thread(cluster.nodes[2].ended, 30) == 0
        await asyncio.sleep(2.0)
        await crowd.calm()
        await crowd.settled(20)
        crowd.nobody_was_lost()
        moved = {one.id: one for one in await crowd.sessions()}
        still = [one for one in futures if one.id in moved]  # some closed and opened anew, as people do
        assert still
        for one in still:
            assert moved[one.id].node in ("node1", "node2")
            assert moved[one.id].generation > one.generation
            assert stored(redis, one.id.partition("-")[0], one.id, FIELD) == VALUE

        # Then the older ones are replaced, one by one, while people go on.
        crowd.live(pace=40.0)
        await asyncio.to_thread(cluster.nodes[2].start)
        for node in cluster.nodes[:2]:
            node.terminate()
            assert await asyncio.to_thread(node.ended, 30) == 0
            node.module = NEXT_MODULE
            await asyncio.to_thread(node.start)
        await crowd.calm()
        await crowd.settled(20)
        crowd.nobody_was_lost()
        items = await seen(cluster.nodes[0], "node1", "node2", "node3")
        assert {one["report"]["version"] for one in items} == {NEXT}
