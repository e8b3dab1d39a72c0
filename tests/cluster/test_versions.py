"""A rolling upgrade of real processes: version N and N+1 side by side on one Redis (S21)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from greenroom.engines.redis.library import LIBRARY_VERSION
from greenroom.model import SessionRecord
from tests.cluster.crowd import Crowd, Member, crowd_at
from tests.cluster.next_version import FIELD, NEXT, VALUE
from tests.cluster.nodes import PATIENT, Cluster
from tests.cluster.test_operating import seen
from tests.support.patience import PATIENCE, until
from tests.support.redis_server import RedisServer, single

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.usefixtures("patient")]

THIS_MODULE = "tests.cluster.this_version"
NEXT_MODULE = "tests.cluster.next_version"
PEOPLE = 60
NEVER = 3600.0
"""Seconds from one comparison to the next: what reaches another node reaches it as a message."""


@pytest.fixture
def place() -> Iterator[tuple[RedisServer, Cluster]]:
    """node1 and node2 as shipped, node3 of the next version."""
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, single("--appendonly", "yes") as redis:
        cluster = Cluster.of(redis.url, Path(directory), compare_interval=NEVER, grace=PATIENCE, **PATIENT)
        for node, module in zip(cluster.nodes, (THIS_MODULE, THIS_MODULE, NEXT_MODULE), strict=True):
            node.module = module
        try:
            yield redis, cluster.start()
        finally:
            cluster.end()


Fields = dict[bytes, bytes]


def stored(redis: RedisServer, crowd: Crowd, session: SessionRecord) -> tuple[Fields, Fields]:
    """The hashes of a session and of its participant."""
    app, who = crowd.application.key, session.participant_id
    partition = f"greenroom:{{{session.id.partition('-')[0]}}}"
    hashes = [
        redis.execute("HGETALL", key)
        for key in (f"{partition}:s:{session.id}", f"{partition}:p:{len(app)}:{app}:{who}")
    ]
    assert all(isinstance(one, dict) and one for one in hashes)
    return cast(tuple[Fields, Fields], tuple(hashes))


async def session_of(crowd: Crowd, member: Member) -> SessionRecord:
    (found,) = [one for one in await crowd.sessions() if one.id == member.sdk._runner.machine.session_id]
    return found


async def move(crowd: Crowd, member: Member, node: str) -> SessionRecord:
    """Its connection is lost, and it resumes on that node."""
    member.way.only = node
    member.way.cut()
    async with asyncio.timeout(PATIENCE):
        while (found := await session_of(crowd, member)).node != node or not member.is_connected:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return found


async def newcomer(crowd: Crowd, name: str, node: str) -> Member:
    member = crowd.member(name)
    member.way.only = node
    await member.open()
    return member


async def sees(watcher: Member, name: str) -> None:
    """Returns when the watcher was sent this name."""
    await until(lambda: name in {one.info.name for seen in watcher.seen.values() for one in seen})


async def test_s21_sessions_and_records_go_to_and_fro_between_two_versions(place: tuple[RedisServer, Cluster]) -> None:
    """What one version wrote the other one changes, and watchers on either are notified; kicks reach both."""
    redis, cluster = place
    async with crowd_at(cluster, seed=402) as (crowd,):
        newer, older = await newcomer(crowd, "ann", "node3"), await newcomer(crowd, "ben", "node1")
        watchers = [await newcomer(crowd, "cleo", "node2"), await newcomer(crowd, "dan", "node3")]
        for watcher in watchers:
            await watcher.watch(["ann", "ben"])
        kept = [one.get(FIELD) for one in stored(redis, crowd, await session_of(crowd, newer))]
        assert kept == [VALUE, VALUE]

        for turn, (one, other) in enumerate([("node1", "node3"), ("node3", "node2")] * 2):
            for member, node in ((newer, one), (older, other)):
                name = f"{member.external_id} {turn} by {node}"
                await move(crowd, member, node)
                await member.rename(name)
                assert crowd.acknowledged[member.external_id][1] == name
                for watcher in watchers:
                    await sees(watcher, name)
        session, participant = stored(redis, crowd, await session_of(crowd, newer))
        assert (session[FIELD], session[b"gen"], session[b"node"]) == (VALUE, b"5", b"node3")
        assert session[b"v2"].endswith(b"\0" + VALUE + b"\0")
        assert (participant[FIELD], participant[b"v"], participant[b"name"]) == (VALUE, b"2", b"ann 3 by node3")
        session, participant = stored(redis, crowd, await session_of(crowd, older))
        assert FIELD not in session
        assert (session[b"gen"], session[b"node"]) == (b"5", b"node2")
        assert (participant[b"v"], participant[b"name"]) == (b"1", b"ben 3 by node2")
        await crowd.settled()
        crowd.nobody_was_lost()

        # Commands: the node that is asked is of the one version, the node that has the session of the other.
        for member, asked in ((newer, cluster.nodes[0]), (older, cluster.nodes[2])):
            who = (await session_of(crowd, member)).participant_id
            await crowd.call(asked, "POST", f"/v1/participants/{who}/kick", {"reason": "enough"})
            await until(lambda member=member: member.ends)  # type: ignore[misc]
            assert member.ends == ["kicked"]
        await crowd.settled()


async def test_s21_a_rolling_upgrade_ends_nobody_and_keeps_what_only_the_newer_one_knows(
    place: tuple[RedisServer, Cluster],
) -> None:
    redis, cluster = place
    async with crowd_at(cluster, seed=401) as (crowd,):
        await crowd.come(PEOPLE)
        items = await seen(cluster.nodes[0], "node1", "node2", "node3")
        assert sorted(one["report"]["version"] == NEXT for one in items) == [False, False, True]
        libraries = str(redis.execute("FUNCTION", "LIST"))
        assert f"greenroom_{LIBRARY_VERSION + 1}_next" in libraries
        assert f"greenroom_{LIBRARY_VERSION}_" in libraries
        crowd.live(pace=40.0)
        await crowd.has_done(100)  # side by side, for a while

        # The newer node's sessions, which it wrote a field to that the older ones do not know, go to the older ones.
        futures = [one for one in await crowd.sessions() if stored(redis, crowd, one)[0].get(FIELD) == VALUE]
        assert futures
        cluster.nodes[2].terminate()
        assert await asyncio.to_thread(cluster.nodes[2].ended) == 0
        await crowd.has_done(50)
        await crowd.calm()
        await crowd.settled()
        crowd.nobody_was_lost()
        now = {one.id: one for one in await crowd.sessions()}
        still = [one for one in futures if one.id in now]  # some closed and opened again, as people do
        assert still
        for one in still:
            assert now[one.id].node in ("node1", "node2")
            assert stored(redis, crowd, one)[0][FIELD] == VALUE
        assert any(now[one.id].generation > one.generation for one in still)

        # Then the older ones are replaced, one by one, while people go on.
        crowd.live(pace=40.0)
        await asyncio.to_thread(cluster.nodes[2].start)
        for node in cluster.nodes[:2]:
            node.terminate()
            assert await asyncio.to_thread(node.ended) == 0
            node.module = NEXT_MODULE
            await asyncio.to_thread(node.start)
        await crowd.calm()
        await crowd.settled()
        crowd.nobody_was_lost()
        items = await seen(cluster.nodes[0], "node1", "node2", "node3")
        assert {one["report"]["version"] for one in items} == {NEXT}
        for one in await crowd.sessions():
            if one.id in {each.id for each in still}:
                assert stored(redis, crowd, one)[0][FIELD] == VALUE
