"""A world of several nodes on one simulated Redis: the shipped Lua files in process, with pub/sub that loses messages,
a Redis that is away or is failed over, and nodes that are cut off from it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any, cast

from greenroom import model
from greenroom.engines.base import Engine
from greenroom.engines.redis import RedisEngine
from greenroom.errors import GreenroomError
from tests.support.lua_redis import LuaServer
from tests.support.lua_replica import REFUSES_AFTER, Replica
from tests.support.sim.backend import Backend
from tests.support.sim.loop import ProcessClock
from tests.support.sim.nodes import SimNode
from tests.support.sim.store import SimStore
from tests.support.sim.world import World

NODES = 3
FEW = 2
"""Partitions of a simulated cluster, in place of 64: each is the same code, and beats and passes ask them all, which is
most of what a walk does. Two are what it takes for one that is written and one that is not."""


def fewer_partitions() -> Callable[[], None]:
    """Every module of ours counts to FEW from now on; what is returned undoes it."""
    before = model.PARTITIONS
    changed = [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("greenroom.") and getattr(module, "PARTITIONS", None) == before
    ]

    def count_to(number: int) -> None:
        for module in changed:
            setattr(module, "PARTITIONS", number)  # noqa: B010 - a constant of each module

    count_to(FEW)
    return lambda: count_to(before)


class ClusterWorld(World):
    """Several nodes. redis: the one Redis, with a replica behind it; its clock is its own.

    durable: the profile under which a failover loses nothing that was acknowledged (`wait_replicas=1`, and a master
    that takes no writes without its replica).
    """

    def __init__(self, seed: int = 0, *, durable: bool = True, **settings: Any) -> None:
        self.durable = durable
        self._all_partitions = fewer_partitions()
        try:
            super().__init__(seed, **settings)
        except BaseException:
            self._all_partitions()
            raise

    def close(self) -> None:
        super().close()
        self._all_partitions()

    def _start_nodes(self) -> None:
        self.redis_clock = ProcessClock(self.timeline)
        self.losses = 0.0
        """The share of messages that are lost."""
        self.unanswered = 0.0
        """The share of calls that are carried out and not answered."""
        dice = random.Random(self.chance.getrandbits(64))
        self.redis = LuaServer(
            lambda: round(self.redis_clock.wall() * 1_000_000),
            is_lost=lambda _channel: dice.random() < self.losses,
            fate=lambda _call: "unanswered" if self.unanswered and dice.random() < self.unanswered else None,
        )
        self.replica = self.redis.replica = Replica(self.redis, lambda: self.timeline.now)
        self.backend = Backend(self)
        self.lost_at: list[float] = []
        """When writes were lost."""
        self.stores: dict[SimNode, SimStore] = {}
        for number in range(NODES):
            node = SimNode(self, f"node{number + 1}")
            self.nodes.append(node)
            node.start()
        first = self.nodes[0]
        self.application, self.app_secret = first.run(first.service.tenants.create_application("world"))
        first.run(first.service.control.announce_directory())
        self.run(4.0)  # the longest until each has read it with a beat

    def make_engine(self, node: SimNode) -> Engine:
        store = SimStore(self.redis, self.timeline, node.loop, self.chance.getrandbits(64), waits=self.durable)
        self.stores[node] = store
        return cast(Engine, RedisEngine("redis://in-process", store=store))

    def engine_died(self, node: SimNode) -> None:
        store = self.stores.pop(node, None)
        if store is not None:
            self.redis.detach(store)

    @property
    def node(self) -> SimNode:
        """One that runs."""
        return next((one for one in self.nodes if one.is_up and not one.is_paused), self.nodes[0])

    def kick(self, external_id: str) -> None:
        try:
            super().kick(external_id)
        except GreenroomError as error:
            self.note(f"nobody is kicked: {error.reason}")

    # -- what happens to Redis ----------------------------------------------------------------------------------------

    def redis_away(self) -> None:
        """It stands still, or is restarted: whoever waits for an answer does not get it."""
        self.note("Redis is away")
        self.redis.up = False
        for store in self.stores.values():
            store.broken()

    def redis_back(self) -> None:
        if self.redis.up:
            return
        self.note("Redis is back")
        self.redis.up = True
        for store in self.stores.values():
            store.mend()

    def replica_behind(self) -> None:
        """The replica receives nothing more. With the durable profile the master soon takes no writes either."""
        self.note("the replica is cut off")
        self.replica.cut_off()
        if self.durable:
            self.timeline.at(REFUSES_AFTER, self._look_at_replica)

    def _look_at_replica(self) -> None:
        if self.redis.up and self.replica.silent_for >= REFUSES_AFTER:
            self.note("Redis takes no writes without its replica")
            self.redis.takes_writes = False

    def replica_back(self) -> None:
        """It reaches the master again, and receives what it missed."""
        self.replica.joined_up()
        self.redis.takes_writes = True

    def failover(self, seconds: float) -> int:
        """The master is gone; after so many seconds the replica, which has not received everything, takes its place.
        How many functions' writes are lost."""
        self.redis_away()
        self.replica.cut_off()
        self.run(seconds)
        lost = self.replica.promote()
        if lost:
            self.lost_at.append(self.timeline.now)
        self.redis.takes_writes = True
        self.note(f"the replica is master, and has not received the last {lost} writes")
        self.redis_back()
        return lost

    def redis_loses_everything(self) -> None:
        """It was restarted without its data."""
        self.note("Redis is empty")
        self.redis.lose_everything()
        self.lost_at.append(self.timeline.now)

    def cut_off(self, node: SimNode) -> None:
        """From Redis; its clients still reach it."""
        self.note(f"{node.name} is cut off from Redis")
        store = self.stores[node]
        store.reachable = False
        store.broken()

    def joined_up(self, node: SimNode) -> None:
        store = self.stores.get(node)
        if store is not None and not store.reachable:
            self.note(f"{node.name} reaches Redis again")
            store.reachable = True
            store.mend()
