"""Random lives of a cluster over the shipped Lua files, judged by the same oracles. A failing seed:
``python -m tests.support.sim --cluster SEED``, or ``--lossy SEED``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from greenroom.engines.base import RestoreRequest
from greenroom.engines.redis.bus import RedisBus
from greenroom.engines.redis.registry import RedisRegistry
from greenroom.model import participant_id_of
from greenroom.server.cluster.recovery import Recovery
from greenroom.server.service import Service
from greenroom.server.telemetry.metrics import Histogram
from tests.support.sim import WALKS
from tests.support.sim.cluster import ClusterWorld
from tests.support.sim.cluster_walk import walk_cluster, walk_lossy
from tests.support.sim.oracles import record_of, watchers_converged
from tests.support.sim.walk import walk_all

SEEDS = WALKS // 20
"""How many are walked of each kind; one costs several times a life of one node."""
CHUNK = 2
"""Seeds of one test, so that all workers have their share."""
SOAK = 2000
"""How many `make soak` walks of each kind, in half an hour of one core."""


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_walks_of_a_cluster_are_fine(first: int) -> None:
    walk_all(walk_cluster, first, first + CHUNK)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_s15_walks_over_a_redis_that_loses_data_are_fine(first: int) -> None:
    """Failovers that lose the last writes, and a Redis that comes back empty."""
    walk_all(walk_lossy, first, first + CHUNK)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("one_walk", [walk_cluster, walk_lossy])
def test_many_more_walks_are_fine(one_walk: Callable[[int], object]) -> None:
    walk_all(one_walk, SEEDS, SOAK)


@pytest.mark.slow
def test_a_seed_is_one_life() -> None:
    assert walk_cluster(7) == walk_cluster(7)


def test_a_session_moves_to_another_node_when_its_own_loses_power() -> None:
    with ClusterWorld(5) as world:
        anna, bob = world.make_app("anna"), world.make_app("bob")
        bob.open()
        bob.run(bob.watch("anna"))
        anna.open()
        (wire,) = anna.wires
        held = anna.sdk._runner.machine.session_id
        wire.node.lose_power()
        world.until(lambda: any(one.node is not wire.node for one in anna.wires), within=40)
        world.run(5.0)
        assert anna.sdk._runner.machine.session_id == held
        assert not anna.ends
        assert not anna.reopened


def test_nothing_ends_while_redis_is_away() -> None:
    with ClusterWorld(6) as world:
        apps = [world.make_app(name) for name in ("anna", "bob", "carla")]
        for app in apps:
            app.open()
        world.redis_away()
        world.run(120.0)
        world.redis_back()
        world.until(lambda: all(app.sdk.session.state.value == "connected" for app in apps), within=60)
        assert all(not app.ends and not app.reopened for app in apps)


def _renamed_while_all_messages_are_lost(seed: int) -> list[str]:
    """What the oracles say some seconds after a change of which no message came."""
    with ClusterWorld(seed) as world:
        anna, bob = world.make_app("anna"), world.make_app("bob")
        anna.open()
        bob.open()
        bob.run(bob.watch("anna"))
        world.run(5.0)
        world.losses = 1.0
        anna.run(anna.rename("Anna B."))
        world.run(15.0)
        return list(watchers_converged(world))


def test_a_watcher_gets_a_change_within_15_seconds_although_every_message_was_lost() -> None:
    assert _renamed_while_all_messages_are_lost(8) == []


def test_the_oracle_sees_where_a_silent_subscription_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with S13 switched off, in the engine and in the node: the world above is not fine by chance."""
    monkeypatch.setattr(Recovery, "_look_for_silence", lambda _self, _result: None)
    monkeypatch.setattr(RedisBus, "_check_later", lambda _self, _expected: None)
    monkeypatch.setattr(Recovery, "_catch_up", lambda _self: None)
    assert _renamed_while_all_messages_are_lost(8) != []


def test_s15_who_is_connected_stays_so_when_redis_comes_back_empty() -> None:
    """Nodes write back what they hold: nobody's session ends, and watchers see the truth."""
    with ClusterWorld(9) as world:
        apps = [world.make_app(name) for name in ("anna", "bob", "carla")]
        for app in apps:
            app.open()
        held = [app.sdk._runner.machine.session_id for app in apps]
        apps[1].run(apps[1].watch("anna", "carla"))
        world.redis_away()
        world.run(2.0)
        world.redis.lose_everything()
        world.redis_back()
        world.run(60.0)
        assert [app.sdk._runner.machine.session_id for app in apps] == held
        assert all(not app.ends and not app.reopened for app in apps)
        assert list(watchers_converged(world)) == []
        assert {record_of(world, name).presence.value for name in ("anna", "bob", "carla")} == {"online"}


def test_s15_the_oracle_sees_where_nobody_writes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, where a node restores the markers and not the sessions it holds."""
    restore = RedisRegistry.restore

    async def forgetful(self: RedisRegistry, request: RestoreRequest) -> Any:
        return await restore(self, msgspec.structs.replace(request, sessions=()))

    monkeypatch.setattr(RedisRegistry, "restore", forgetful)
    with pytest.raises(AssertionError):
        test_s15_who_is_connected_stays_so_when_redis_comes_back_empty()


def _gone_with_the_data(seed: int) -> tuple[ClusterWorld, str]:
    """Redis comes back empty, and whom it knew of has died meanwhile. What a watcher sees 60 s later."""
    with ClusterWorld(seed) as world:
        anna, bob = world.make_app("anna"), world.make_app("bob")
        anna.open()
        bob.open()
        bob.run(bob.watch("anna"))
        world.run(3.0)
        world.redis_away()
        anna.kill()
        world.run(2.0)
        world.redis.lose_everything()
        world.redis_back()
        world.run(60.0)
        (watch,) = bob.watches
        (seen,) = watch.participants.values()
        return world, seen.presence.value


def test_s15_who_was_lost_with_the_data_is_no_ghost() -> None:
    world, presence = _gone_with_the_data(10)
    assert presence == "offline", world.story()


def test_the_ghost_is_there_where_nobody_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recovery, "_suspect", lambda _self, _app, _unknown: None)
    assert _gone_with_the_data(10)[1] != "offline"


# -- restrictions between nodes ---------------------------------------------------------------------------------------


def test_a_kick_counts_on_every_node_at_once_and_no_node_reads_all_restrictions_for_it() -> None:
    """Each kick was a reading of all restrictions of all applications, on each node."""
    with ClusterWorld(31) as world:
        anna = participant_id_of(world.application.namespace, "anna")
        reads = [_reads_of_restrictions(node.service) for node in world.nodes]
        before = [read.count for read in reads]
        for _ in range(20):
            world.kick("anna")
            world.run(0.2)
            cutoffs = {node.service.tenants.revocations.cutoff(world.application, anna) for node in world.nodes}
            assert len(cutoffs) == 1
            assert cutoffs != {None}
        world.run(7.0)  # two beats of each
        # A beat that came while a kick was on its way reads: some of these, not twenty on each node.
        assert sum(read.count - was for read, was in zip(reads, before, strict=True)) <= 2 * len(reads)


def test_a_kick_that_a_node_did_not_receive_is_read_with_its_next_beat() -> None:
    with ClusterWorld(32) as world:
        anna = participant_id_of(world.application.namespace, "anna")
        world.losses = 1.0
        world.kick("anna")
        world.run(4.0)
        for node in world.nodes:
            assert node.service.tenants.revocations.cutoff(world.application, anna) is not None


def _reads_of_restrictions(service: Service) -> Histogram:
    return service.metrics.histogram("greenroom_engine_call_seconds").labels("directory", "restrictions")
