"""Random lives of a cluster, from their seeds.

``python -m tests.support.sim --cluster SEED`` walks one again; ``--lossy SEED`` one over a Redis that loses data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from tests.support.sim.backend import backend_received_all
from tests.support.sim.cluster import ClusterWorld
from tests.support.sim.nodes import SimNode
from tests.support.sim.oracles import KEPT, versions_only_grow
from tests.support.sim.walk import Walk, finish
from tests.support.sim.world import World


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
        node.restart()

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

    def replica_stammers(self) -> None:
        """It answers late: calls are carried out, and their outcome is open."""
        self.world.replica_behind()
        self._meanwhile(self.dice.choice((0.3, 1.0, 4.0)))
        self.world.replica_back()

    def redis_fails_over(self) -> None:
        """A replica becomes master, on another machine with another clock, and has not received the last writes. With
        the durable profile none of these was acknowledged (S16)."""
        self.world.replica_behind()
        self._meanwhile(self.dice.choice((0.0, 0.05, 0.5, 2.0, 5.0)))
        self.world.redis_clock.offset += self.dice.choice((-1.0, 0.0, 0.3, 2.0))
        self.world.failover(self.dice.uniform(0.5, 5.0))

    def _meanwhile(self, seconds: float) -> None:
        """The world runs for so long."""
        for _ in range(3):
            self.dice.choice((self.join, self.update, self.update, self.close, self.drop, self.die, self.read_events))()
            self.world.run(seconds / 3)

    def read_events(self) -> None:
        """An app's backend asks what happened."""
        self.world.backend.read()

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
            (2, self.redis_fails_over), (1, self.replica_stammers), (2, self.read_events),
            (2, self.messages_get_lost), (1, self.answers_get_lost),
        ]  # fmt: skip

    def _rest(self) -> None:
        self.world.losses = self.world.unanswered = 0.0
        self.world.redis_back()
        self.world.replica_back()
        for node in self.world.nodes:
            self._revive(node)
        super()._rest()

    def _judge(self, oracles: Any) -> None:
        super()._judge([*oracles, backend_received_all])


class LossyWalk(ClusterWalk):
    """A life without the durable profile: a failover may lose the last seconds, and Redis may come back empty.

    What a failover may lose is not asked for (S16): events, ends that were written last, updates. All else is: nobody
    who is connected is without a session, nobody who left is a ghost, watchers hold what is stored, and no observer
    goes back.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed, lambda seed: ClusterWorld(seed, durable=False))

    def redis_comes_back_empty(self) -> None:
        """Restarted without its data (S15)."""
        self.world.redis_away()
        self.world.run(self.dice.uniform(0.5, 5.0))
        self.world.redis_loses_everything()
        self.world.redis_back()

    def steps(self) -> list[tuple[int, Callable[[], None]]]:
        return [*super().steps(), (2, self.redis_fails_over), (2, self.redis_comes_back_empty)]

    def _judge(self, oracles: Any) -> None:
        Walk._judge(self, [LESS_IS_ASKED.get(one, one) for one in oracles if one not in KEPT])


UNDER_WAY = 2.0
"""Seconds for which what was published before a loss may still be under way to an app."""


def versions_grow_between_losses(world: ClusterWorld) -> Iterator[str]:
    """As `versions_only_grow`, where writes that nobody waited for are lost. Of whom the engine knows nothing any more
    the version is 0. An answer to a `watch` or `resume` replaces what an app held (S11): it may be older after a loss.
    """
    for app in world.apps:
        for participant_id, seen in app.seen.items():
            times = zip(seen, app.seen_at[participant_id], strict=True)
            for (before, then), (after, now) in pairwise([each for each in times if each[0].version]):
                is_lost = any(then - UNDER_WAY <= at <= now for at in world.lost_at)
                if after.version <= before.version and not is_lost:
                    yield f"{app.name} saw {participant_id} at {after.version} after {before.version}"


LESS_IS_ASKED: dict[Any, Any] = {versions_only_grow: versions_grow_between_losses}


def walk_lossy(seed: int) -> list[tuple[float, str]]:
    """As `walk_cluster`, over a Redis that loses data."""
    return finish(LossyWalk(seed))


def walk_cluster(seed: int) -> list[tuple[float, str]]:
    """One walk to its end. The timeline. Raises WalkError."""
    return finish(ClusterWalk(seed))
