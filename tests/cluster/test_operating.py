"""`greenroom nodes`, `drain` and `doctor` on three real nodes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom.core.requests import OpenRequest, Owner, TokenFacts
from greenroom.core.states import SessionState
from greenroom.engines.base import SessionQuery
from greenroom.model import partition_of
from tests.cli.running import Ran, run
from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.nodes import ADMIN_TOKEN, PATIENT, Cluster, NodeProcess
from tests.support.patience import PATIENCE, until
from tests.support.redis_server import RedisServer, single

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.usefixtures("patient")]

NEVER = 3600.0
"""Seconds from one comparison to the next: what a test puts wrong stays wrong until the doctor comes."""
LEASE = PATIENT["lease"]
"""Seconds for which a node that stands still is silent and not yet dead: a busy machine looks twice in them."""


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[RedisServer, Cluster]]:
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, single("--appendonly", "yes") as redis:
        cluster = Cluster.of(redis.url, Path(directory), compare_interval=NEVER, **PATIENT)
        try:
            yield redis, cluster.start()
        finally:
            cluster.end()


@pytest.fixture
def cluster(place: tuple[RedisServer, Cluster]) -> Cluster:
    place[1].repair()
    return place[1]


async def ask(node: NodeProcess, *arguments: str) -> Ran:
    return await run(*arguments, "--url", node.url, "--admin-token", ADMIN_TOKEN)


async def seen(node: NodeProcess, *names: str) -> list[dict[str, Any]]:
    """The nodes, when all of these are ready."""
    async with asyncio.timeout(PATIENCE):
        while True:
            items: list[dict[str, Any]] = (await ask(node, "nodes", "--json")).json
            ready = {one["node"] for one in items if one["report"] is not None and one["ready"]}
            if set(names) <= ready:
                return items
            await asyncio.sleep(0.2)


async def test_nodes_lists_boots_leases_sessions_and_lag(cluster: Cluster) -> None:
    async with crowd_at(cluster, seed=201) as (crowd,):
        await crowd.come(12, watchers=0)
        items = await seen(cluster.nodes[0], "node1", "node2", "node3")
        assert sum(one["sessions"] for one in items) == 12
        assert all(0 < one["leaseLeft"] <= LEASE for one in items)
        assert len({one["boot"] for one in items}) == 3
        assert all(one["report"]["reaperLag"] < 60 and abs(one["report"]["clockDifference"]) < 30 for one in items)
        shown = await ask(cluster.nodes[1], "nodes")
        assert shown.code == 0, shown
        assert all(word in shown.out for word in ("node1", "node2", "node3", "ready", items[0]["boot"][:8]))


async def test_drain_moves_everybody_at_the_rate_asked_for_and_ends_nothing(cluster: Cluster) -> None:
    async with crowd_at(cluster, seed=202) as (crowd,):
        await crowd.come(60)
        await seen(cluster.nodes[0], "node1", "node2", "node3")
        held = sum(one.node == "node2" for one in await crowd.sessions())
        assert held
        at = time.monotonic()
        ran = await ask(cluster.nodes[0], "drain", "node2", "--rate", "5", "--json")
        took = time.monotonic() - at
        assert (ran.json["gone"], ran.json["left"]) == (True, 0), ran
        assert cluster.nodes[1].ended() == 0
        assert took > held / 5 * 0.4, f"{held} sessions were moved in {took:.1f} s"
        await crowd.settled()
        crowd.nobody_was_lost()
        assert not [one for one in await crowd.events() if one.type in ("participant.offline", "session.ended")]
        assert {one.node for one in await crowd.sessions()} <= {"node1", "node3"}


async def test_a_node_that_is_not_there_cannot_be_drained(cluster: Cluster) -> None:
    ran = await ask(cluster.nodes[0], "drain", "node9")
    assert ran.code == 5
    assert "node9" in ran.err


async def test_doctor_finds_nothing_wrong_with_a_cluster_that_is_well(cluster: Cluster) -> None:
    async with crowd_at(cluster, seed=203) as (crowd,):
        await crowd.come(30)
        await seen(cluster.nodes[0], "node1", "node2", "node3")
        found = (await ask(cluster.nodes[0], "doctor", "--json")).json
        assert (found["nodes"], found["sessions"], found["sockets"]) == (3, 30, 30), found
        assert {one["code"] for one in found["findings"]} == {"durability"}, found
        assert any("AOF on" in line for line in found["durability"])


async def _ghost(crowd: Crowd, node: str, lease: str) -> str:
    """A session that the registry lists for a node, which knows nothing of it."""
    participant = "00000000-0000-4000-8000-00000000dead"
    app = crowd.application.key
    request = OpenRequest(
        app=app, participant_id=participant, external_id="ghost", open_id="o" * 22, secret_hash=b"s" * 32,
        session_id=f"p{partition_of(app, participant)}-{'0' * 32}", node=node, lease=lease,
        token=TokenFacts(jti="j", issued_at=int(time.time()), expires_at=int(time.time()) + 600), grace=20.0,
    )  # fmt: skip
    return (await crowd.engine.registry.open(request)).session.id


async def test_doctor_finds_a_session_without_connection_and_repairs_it_when_asked(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    async with crowd_at(cluster, seed=204) as (crowd,):
        items = await seen(node, "node1", "node2", "node3")
        ghost = await _ghost(crowd, "node2", next(one["lease"] for one in items if one["node"] == "node2"))
        first = await ask(node, "doctor")
        assert first.code == 1
        assert ghost in first.out, first
        assert "node2, which has no connection for it" in first.out, first
        before = await crowd.engine.registry.sessions(SessionQuery(session_id=ghost))
        assert before.items[0].state.value == "attached", "looking changes nothing"
        repaired = await ask(node, "doctor", "--repair")
        assert f"{ghost}: detached." in repaired.out, repaired
        assert (await ask(node, "doctor")).code == 0
        life = (await ask(node, "doctor", "--session", ghost, "--json")).json
        assert [step["what"] for step in life["steps"]] == ["opened", "detached"]
        assert life["state"] == "detached"
        received = await ask(node, "doctor", "--session", ghost)
        assert "The connection was lost; the grace began." in received.out


async def test_doctor_finds_a_connection_without_session_and_the_node_takes_it_back(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    async with crowd_at(cluster, seed=205) as (crowd,):
        await crowd.come(3, watchers=0)
        await seen(node, "node1", "node2", "node3")
        session = (await crowd.sessions())[0]
        assert await crowd.engine.registry.detach(Owner(session.id, session.generation, session.lease), 20.0)
        found = await ask(node, "doctor", "--repair")
        assert f"{session.id}: {session.node} has a connection for it" in found.out, found
        async with asyncio.timeout(PATIENCE):
            while any(one.state.value != "attached" for one in await crowd.sessions()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        assert (await ask(node, "doctor")).code == 0
        crowd.nobody_was_lost()
        assert all(one.sdk.session.state is SessionState.CONNECTED for one in crowd.members)


async def _is_in(words: str, running: Awaitable[Ran], times: int = 1) -> bool:
    return (await running).out.count(words) >= times


async def test_doctor_names_a_node_that_stands_still(cluster: Cluster) -> None:
    cluster.nodes[2].pause()
    await asyncio.sleep(1.0)
    try:
        found = await ask(cluster.nodes[0], "doctor", "--json")
        assert "node_silent" in found.out, found
        await until(lambda: _is_in("node_dead", ask(cluster.nodes[0], "doctor", "--json")), LEASE + PATIENCE)
    finally:
        cluster.nodes[2].resume()


async def test_doctor_looks_into_an_engine_whose_nodes_are_down(place: tuple[RedisServer, Cluster]) -> None:
    redis, cluster = place
    cluster.repair()
    async with crowd_at(cluster, seed=206) as (crowd,):
        await crowd.come(9, watchers=0)
        victim = (await crowd.sessions())[0].id
        for node in cluster.nodes:
            node.kill()
        await until(
            lambda: _is_in("whose lease has expired", run("doctor", "--engine", redis.url), 9), LEASE + PATIENCE
        )
        ran = await run("doctor", "--engine", redis.url)
        assert ran.code == 1, ran
        assert "No node is ready" in ran.out
        assert "sessions in the registry, not asked with a connection" in ran.out, ran
        assert ran.out.count("whose lease has expired") == 9
        life = await run("doctor", "--engine", redis.url, "--session", victim)
        assert life.code == 0, life
        assert "The client signed in." in life.out
        for node in cluster.nodes:
            node.spawn()
        await asyncio.to_thread(cluster.wait)
        await crowd.settled()
