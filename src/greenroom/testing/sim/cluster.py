"""A world of several nodes on one simulated Redis: the shipped Lua files in process, with pub/sub that loses messages,
a Redis that is away or is failed over, and nodes that are cut off from it.

``python -m greenroom.testing.sim --cluster SEED`` walks one again; ``--lossy SEED`` one over a Redis that loses data.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from greenroom import model
from greenroom.engines.base import Engine
from greenroom.engines.redis import RedisEngine
from greenroom.engines.redis.errors import outcome_open, unreachable
from greenroom.engines.redis.store import Call, Reply
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.testing.lua_redis import LuaServer, LuaStore
from greenroom.testing.sim.loop import ProcessClock, SimLoop, Timeline
from greenroom.testing.sim.nodes import SimNode
from greenroom.testing.sim.oracles import (
    known_versions_only_grow,
    one_end_each,
    order_of_events,
    updates_are_kept,
    versions_only_grow,
)
from greenroom.testing.sim.walk import Walk
from greenroom.testing.sim.world import World

FASTEST, SLOWEST = 0.0002, 0.003
"""Seconds between a node and Redis, one way."""
GIVES_UP = 2.0
"""Seconds after which a call that nobody answers fails, as the engine's connection has it."""
NODES = 3


FEW = 4
"""Partitions of a simulated cluster, in place of 64: each is the same code, and beats and passes ask them all."""


def _fewer_partitions() -> Callable[[], None]:
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


class SimStore(LuaStore):
    """One node's way to the simulated Redis, with delays: others get between asking and carrying out, and between
    carrying out and hearing of it."""

    def __init__(self, server: LuaServer, timeline: Timeline, loop: SimLoop, seed: int) -> None:
        super().__init__(server)
        self._timeline = timeline
        self._loop = loop
        self._dice = random.Random(seed)
        self.breaks = 0
        """How often the connection broke: who waits for an answer over a break does not get it."""

    async def call(self, call: Call) -> Reply:
        return (await self.call_many((call,)))[0]

    async def call_many(self, calls: Sequence[Call]) -> list[Reply]:
        await asyncio.sleep(self._delay())
        if not (self.reachable and self.server.up):
            await asyncio.sleep(self._dice.uniform(0.0, GIVES_UP))
            raise unreachable("simulated")
        breaks = self.breaks
        try:
            replies = [await super(SimStore, self).call(one) for one in calls]
        except ServiceUnavailableError:
            await asyncio.sleep(self._dice.uniform(0.0, GIVES_UP))
            raise
        await asyncio.sleep(self._delay())
        if breaks != self.breaks:
            raise outcome_open("simulated")
        return replies

    async def subscribe(self, tag: str, channel: str) -> None:
        await asyncio.sleep(self._delay())
        await super().subscribe(tag, channel)
        await asyncio.sleep(self._delay())

    def deliver(self, channel: str, data: bytes) -> None:
        """Into the node's own process, in order, after a delay: a paused one hears it when it wakes."""
        tag, name = self._subscribed[channel]

        def arrive() -> None:
            if self._loop in self._timeline.loops and self.hears(channel):
                self._loop.call_soon(self._on_message, tag, name, data)

        self._timeline.at(SLOWEST, arrive)

    def mend(self) -> None:
        """The connection is made anew: what was published meanwhile was missed."""
        if self._loop in self._timeline.loops:
            self._loop.call_soon(self.reconnected)

    def _delay(self) -> float:
        return self._dice.uniform(FASTEST, SLOWEST)


class ClusterWorld(World):
    """Several nodes. redis: the one Redis; its clock is its own."""

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        self._all_partitions = _fewer_partitions()
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
        self.stores: dict[SimNode, SimStore] = {}
        for number in range(NODES):
            node = SimNode(self, f"node{number + 1}")
            self.nodes.append(node)
            node.start()
        first = self.nodes[0]
        self.application, self.app_secret = first.run(first.service.tenants.create_application("world"))
        first.run(first.service.announce_directory())
        self.run(4.0)  # the longest until each has read it with a beat

    def make_engine(self, node: SimNode) -> Engine:
        store = SimStore(self.redis, self.timeline, node.loop, self.chance.getrandbits(64))
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
            store.breaks += 1

    def redis_back(self) -> None:
        if self.redis.up:
            return
        self.note("Redis is back")
        self.redis.up = True
        for store in self.stores.values():
            store.mend()

    def cut_off(self, node: SimNode) -> None:
        """From Redis; its clients still reach it."""
        self.note(f"{node.name} is cut off from Redis")
        store = self.stores[node]
        store.reachable = False
        store.breaks += 1

    def joined_up(self, node: SimNode) -> None:
        store = self.stores.get(node)
        if store is not None and not store.reachable:
            self.note(f"{node.name} reaches Redis again")
            store.reachable = True
            store.mend()


class ClusterWalk(Walk):
    """A random life of a cluster. What an app and its network do is as in `Walk`."""

    world: ClusterWorld

    def __init__(self, seed: int, make_world: Callable[[int], World] = ClusterWorld) -> None:
        super().__init__(seed, make_world)

    def _node(self) -> SimNode:
        return self.dice.choice(self.world.nodes)

    def _revive(self, node: SimNode) -> None:
        if node.is_paused:
            node.wake()
        self.world.joined_up(node)
        self.world.redis_back()

    def node_dies(self) -> None:
        """Killed, without power, or restarted in order; another process takes its name."""
        node = self._node()
        self._revive(node)
        self.dice.choice((node.kill, node.lose_power, node.stop))()
        self.world.run(self.dice.uniform(0.5, 20.0))
        self.world.redis_back()
        self._start(node)

    def _start(self, node: SimNode) -> None:
        """A start whose calls are not answered fails, and is repeated by whatever watches over the process; here it is
        answered at once."""
        before, self.world.unanswered = self.world.unanswered, 0.0
        node.start()
        self.world.unanswered = before

    def node_sleeps(self) -> None:
        node = self._node()
        if not node.is_paused:
            node.pause()
            self.world.run(self.dice.choice((1.0, 6.0, 8.0, 12.0, 30.0, 70.0)))
            node.wake()

    def node_is_cut_off(self) -> None:
        node = self._node()
        self.world.cut_off(node)
        self.world.run(self.dice.choice((1.0, 4.0, 9.0, 15.0, 60.0)))
        self.world.joined_up(node)

    def redis_stands_still(self) -> None:
        self.world.redis_away()
        self.world.run(self.dice.choice((0.5, 2.0, 6.0, 12.0, 60.0)))
        self.world.redis_back()

    def redis_fails_over(self) -> None:
        """With the durable profile: all that was acknowledged is there, the clock is another machine's."""
        self.world.redis_away()
        self.world.run(self.dice.uniform(0.5, 5.0))
        self.world.redis_clock.offset += self.dice.choice((-1.0, 0.0, 0.3, 2.0))
        self.world.note(f"another Redis is master, its clock {self.world.redis_clock.offset:+.1f} s off")
        self.world.redis_back()

    def messages_get_lost(self) -> None:
        self.world.losses = self.dice.choice((0.0, 0.0, 0.2, 0.5, 1.0))
        self.world.note(f"{self.world.losses:.0%} of messages get lost")

    def answers_get_lost(self) -> None:
        self.world.unanswered = self.dice.choice((0.0, 0.0, 0.002, 0.01))
        self.world.note(f"{self.world.unanswered:.1%} of calls are not answered")

    def steps(self) -> list[tuple[int, Callable[[], None]]]:
        return [
            *super().steps(),
            (1, self.node_dies), (1, self.node_sleeps), (1, self.node_is_cut_off), (1, self.redis_stands_still),
            (1, self.redis_fails_over), (2, self.messages_get_lost), (1, self.answers_get_lost),
        ]  # fmt: skip

    def _rest(self) -> None:
        self.world.losses = self.world.unanswered = 0.0
        self.world.redis_back()
        for node in self.world.nodes:
            self._revive(node)
        super()._rest()


class LossyWalk(ClusterWalk):
    """A life without the durable profile: a failover may lose the last seconds, and Redis may come back empty.

    What a failover may lose is not asked for (S16): events, ends that were written last, updates. All else is: nobody
    who is connected is without a session, nobody who left is a ghost, watchers hold what is stored, and no observer
    goes back.
    """

    def redis_loses_the_last_writes(self) -> None:
        """A replica becomes master that had not heard of all."""
        before = self.world.redis.snapshot()
        self.world.run(self.dice.choice((0.05, 0.5, 2.0, 5.0)))
        self.world.redis_away()
        self.world.run(self.dice.uniform(0.5, 5.0))
        self.world.redis.go_back(before)
        self.world.note("another Redis is master, and has not heard of the last writes")
        self.world.redis_back()

    def redis_comes_back_empty(self) -> None:
        """Restarted without its data (S15)."""
        self.world.redis_away()
        self.world.run(self.dice.uniform(0.5, 5.0))
        self.world.redis.lose_everything()
        self.world.note("Redis is empty")
        self.world.redis_back()

    def steps(self) -> list[tuple[int, Callable[[], None]]]:
        return [*super().steps(), (3, self.redis_loses_the_last_writes), (2, self.redis_comes_back_empty)]

    def _judge(self, oracles: Any) -> None:
        super()._judge([LESS_IS_ASKED.get(one, one) for one in oracles if one not in MAY_BE_LOST])


MAY_BE_LOST = (one_end_each, order_of_events, updates_are_kept)
"""Oracles that ask for what a Redis without the durable profile does not promise."""
LESS_IS_ASKED: dict[Any, Any] = {versions_only_grow: known_versions_only_grow}


def walk_lossy(seed: int) -> list[tuple[float, str]]:
    """As `walk_cluster`, over a Redis that loses data."""
    one = LossyWalk(seed)
    try:
        one.run()
        return one.world.notes
    finally:
        one.close_world()


def walk_cluster(seed: int) -> list[tuple[float, str]]:
    """One walk to its end. The timeline. Raises WalkError."""
    one = ClusterWalk(seed)
    try:
        one.run()
        return one.world.notes
    finally:
        one.close_world()


__all__ = ["ClusterWalk", "ClusterWorld", "LossyWalk", "SimStore", "walk_cluster", "walk_lossy"]
