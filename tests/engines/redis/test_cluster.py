"""Redis Cluster: slots spread over masters, slots that move, a master that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from greenroom.engines.base import LEASE, NodeBeat
from greenroom.errors import ServiceUnavailableError
from greenroom.model import PARTITIONS, partition_of, partition_of_room
from greenroom.testing.engine_contract import APP
from greenroom.testing.engine_world import Client
from tests.support.patience import until
from tests.support.redis_server import Cluster, RedisServer, cluster
from tests.support.redis_world import RedisWorld

pytestmark = [pytest.mark.slow, pytest.mark.waiting]


def slot_of(partition: int) -> int:
    return key_slot(f"greenroom:{{p{partition}}}".encode())


def owner_of_slot(trio: Cluster, slot: int) -> int:
    return next(n for n in range(3) if 16384 * n // 3 <= slot <= 16384 * (n + 1) // 3 - 1)


def text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def move_slot(source: RedisServer, target: RedisServer, slot: int, all_servers: list[RedisServer]) -> None:
    """As redis-cli --cluster reshard does it."""
    source_id, target_id = (text(server.execute("CLUSTER", "MYID")) for server in (source, target))
    target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := source.execute("CLUSTER", "GETKEYSINSLOT", slot, 100):
        assert isinstance(keys, list)
        source.execute("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for server in (target, source, *all_servers):
        server.execute("CLUSTER", "SETSLOT", slot, "NODE", target_id)


def test_partitions_are_spread_over_the_masters() -> None:
    masters = [slot_of(partition) * 3 // 16384 for partition in range(PARTITIONS)]
    assert all(masters.count(n) >= PARTITIONS // 5 for n in range(3))


@pytest.fixture
def trio() -> Iterator[Cluster]:
    # A master that stands still for as long as a call waits is not taken for dead, and the cluster for down.
    with cluster("--cluster-node-timeout", "60000") as running:
        yield running


async def test_s13_a_slot_that_moves_is_followed_and_counts_as_lost(trio: Cluster) -> None:
    async with RedisWorld(trio.url, trio.flush) as w:
        a, b = await w.client("alice"), await w.client("bob")
        await w.engine.bus.watch(APP, [a.participant_id])
        slot = slot_of(partition_of(APP, a.participant_id))
        source = owner_of_slot(trio, slot)
        await asyncio.to_thread(move_slot, trio.servers[source], trio.servers[(source + 1) % 3], slot, trio.servers)
        await a.update(name="moved")
        await b.update(name="stayed")
        await until(lambda: w.listener.losses)
        assert (await a.record()).name == "moved"
        await a.update(name="received there")
        await until(lambda: any(r.name == "received there" for r in w.listener.records(a.participant_id)))
        await w.advance(2)


async def test_a_master_that_is_away_costs_its_partitions_only(trio: Cluster) -> None:
    async with RedisWorld(trio.url, trio.flush, timeout=5.0) as w:
        users = [f"user-{n}" for n in range(30)]
        clients = [await w.client(user) for user in users]
        away = 1
        there = [c for c in clients if owner_of_slot(trio, slot_of(partition_of(APP, c.participant_id))) != away]
        gone = [c for c in clients if c not in there]
        assert there
        assert gone
        trio.servers[away].pause()
        try:
            results = await asyncio.gather(*(c.update(name="x") for c in clients), return_exceptions=True)
            for client, result in zip(clients, results, strict=True):
                assert isinstance(result, ServiceUnavailableError) == (client in gone)
        finally:
            trio.servers[away].resume()
        await asyncio.gather(*(c.update(name="y") for c in clients))


async def test_a_master_that_is_away_costs_a_beat_its_partitions_only(trio: Cluster) -> None:
    """In the others the lease is renewed, and sessions are opened, at a limit too, and join rooms."""
    away = trio.servers[1]
    lost = frozenset(n for n in range(PARTITIONS) if owner_of_slot(trio, slot_of(n)) == 1)
    async with RedisWorld(trio.url, trio.flush, timeout=5.0) as w:
        clients = [await w.client(f"user-{n}") for n in range(12)]
        there = [client for client in clients if partition_of(APP, client.participant_id) not in lost]
        beat = NodeBeat(node=w.node, boot="boot-of-" + w.node, lease=w.lease)
        away.pause()
        try:
            result = await w.engine.registry.beat(beat)
        finally:
            away.resume()
        assert (result.renewed, result.missing) == (True, lost)
        result = await w.engine.registry.beat(beat)
        assert (result.renewed, result.missing) == (True, frozenset())
        away.kill()
        reaped = await w.advance(2 * LEASE)
        assert reaped.detached == 0
        for client in there:
            await client.update(name="still here")
        requests = [w.open_request(f"new-{n}", max_application_sessions=100) for n in range(9)]
        request = next(one for one in requests if partition_of(APP, one.participant_id) not in lost)
        opened = Client(w, request)
        opened.last = await w.engine.registry.open(request)
        room = next(f"room-{n}" for n in range(99) if partition_of_room(APP, f"room-{n}") not in lost)
        assert (await opened.join(room)).count == 1
