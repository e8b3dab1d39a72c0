"""Promise 4, cause by cause, in virtual time: how long until the truth is there for the server API and for watchers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from greenroom.core.states import SessionState
from greenroom.model import Presence
from tests.support.sim.apps import SimApp
from tests.support.sim.oracles import events_of, record_of
from tests.support.sim.world import World

SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(4, 20))]
NOTIFIED_AFTER = 2.0
REAPER_PASS = 1.0
NETWORK = 0.5
"""Seconds for news from a node to a watcher: a batch, and a delay."""


@pytest.fixture(params=SEEDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with World(request.param) as made:
        yield made


def _two(world: World) -> tuple[SimApp, SimApp]:
    """Anna, and Bob who watches her."""
    anna, bob = world.make_app("anna"), world.make_app("bob")
    anna.open(name="Anna")
    bob.open()
    bob.run(bob.watch("anna"))
    world.run(world.chance.uniform(0.5, 20.0))
    return anna, bob


def _is(world: World, presence: Presence) -> Callable[[], bool]:
    return lambda: record_of(world, "anna").presence is presence


def _bob_sees(bob: SimApp, presence: Presence) -> Callable[[], bool]:
    def seen() -> bool:
        return any(one.presence is presence for watch in bob.watches for one in watch.participants.values())

    return seen


def _measure(world: World, bob: SimApp, cause: Callable[[], None], unreachable: float | None, ended: float) -> None:
    began = world.timeline.now
    cause()
    if unreachable is not None:
        world.until(_is(world, Presence.UNREACHABLE), unreachable)
        world.until(_bob_sees(bob, Presence.UNREACHABLE), NOTIFIED_AFTER + REAPER_PASS + NETWORK)
        assert world.timeline.now - began <= unreachable + NOTIFIED_AFTER + REAPER_PASS + NETWORK
    world.until(_is(world, Presence.OFFLINE), ended - (world.timeline.now - began))
    world.until(_bob_sees(bob, Presence.OFFLINE), NETWORK + LATE)
    ends = [event for event in events_of(world) if event.type == "session.ended"]
    assert len(ends) == 1


LATE = 1.5
"""Seconds: the longest delay of the simulated network."""


def test_the_client_closed(world: World) -> None:
    anna, bob = _two(world)
    _measure(world, bob, anna.close, None, 1.0 + LATE)


def test_the_connection_was_reset(world: World) -> None:
    anna, bob = _two(world)
    _measure(world, bob, anna.kill, 1.0 + LATE, 42.0 + LATE)


def test_the_page_was_left(world: World) -> None:
    anna, bob = _two(world)
    _measure(world, bob, anna.leave_page, 1.0 + LATE, 7.0 + LATE)


def test_the_client_vanished_without_a_word(world: World) -> None:
    anna, bob = _two(world)
    _measure(world, bob, anna.lose_power, 25.0, 66.0)


def test_the_client_sleeps(world: World) -> None:
    anna, bob = _two(world)
    _measure(world, bob, anna.pause, 25.0, 66.0)


def test_only_what_the_client_sends_is_lost(world: World) -> None:
    anna, bob = _two(world)
    _measure(world, bob, lambda: anna.silence(down=False), 25.0, 66.0)


def test_only_what_the_client_is_sent_is_lost_and_it_notices(world: World) -> None:
    anna, _ = _two(world)
    anna.silence(up=False)
    world.until(lambda: anna.sdk.session.state is SessionState.RECONNECTING, 25.0)


def test_the_only_node_was_restarted_and_the_client_died_meanwhile(world: World) -> None:
    anna, bob = _two(world)
    world.node.kill()
    anna.kill()
    world.run(world.chance.uniform(1.0, 200.0))
    world.node.start()
    began = world.timeline.now
    assert record_of(world, "anna").presence is Presence.UNREACHABLE
    world.until(_is(world, Presence.OFFLINE), 41.0)
    assert world.timeline.now - began > 35.0, "the downtime must not eat the grace"
    world.until(lambda: bob.sdk.session.state is SessionState.CONNECTED, 45.0)


def test_a_resume_within_two_seconds_is_not_published(world: World) -> None:
    anna, bob = _two(world)
    seen = len(bob.log), {key: len(value) for key, value in bob.seen.items()}
    anna.drop()
    world.until(_is(world, Presence.UNREACHABLE), 2.0)
    world.until(_is(world, Presence.ONLINE), 1.5 + LATE)
    world.run(30.0)
    assert (len(bob.log), {key: len(value) for key, value in bob.seen.items()}) == seen
    kinds = [event.type for event in events_of(world)]
    assert "session.detached" not in kinds
    assert "participant.unreachable" not in kinds
