"""What a failover to a replica that lags may lose, and what not: a scenario for each rule, and the same with its guard
taken out, which has to go wrong. The walks of `test_cluster_walk` mix them all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from greenroom.core.requests import UpdateRequest
from greenroom.engines.base import KickParticipant
from greenroom.engines.redis.bus import RedisBus
from greenroom.engines.redis.library import Library, library
from greenroom.engines.redis.outbox import RedisOutbox
from greenroom.errors import GreenroomError
from greenroom.model import participant_id_of
from greenroom.server.cluster.recovery import Recovery
from greenroom.server.sessions import engine_calls as desk
from greenroom.server.sessions.engine_calls import EngineCalls
from tests.support import lua_redis
from tests.support.sim.apps import SimApp
from tests.support.sim.backend import backend_received_all
from tests.support.sim.cluster import ClusterWorld
from tests.support.sim.oracles import (
    AT_REST,
    kicks_are_kept,
    no_ghosts,
    opens_are_kept,
    record_of,
    sessions_of,
    updates_are_kept,
    versions_only_grow,
    watchers_converged,
)

Without = Callable[[str, str], None]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    """Nodes and Redis run Lua files in which one text is another."""

    def change(text: str, other: str) -> None:
        whole = library()
        assert whole.code.count(text) >= 1, text
        changed = Library(whole.name, whole.code.replace(text, other))
        monkeypatch.setattr(lua_redis, "library", lambda: changed)

    return change


def _open(world: ClusterWorld, *names: str) -> list[SimApp]:
    apps = [world.make_app(name) for name in names]
    for app in apps:
        app.open()
    world.run(3.0)
    return apps


def _wrong(world: ClusterWorld, *oracles: Callable[[ClusterWorld], object]) -> list[str]:
    return [line for oracle in oracles for line in oracle(world)]  # type: ignore[attr-defined]


# -- S16: what was acknowledged ---------------------------------------------------------------------------------------


def _acknowledged_and_failed_over(*, durable: bool) -> list[str]:
    """An open, an update and a kick while the replica gets nothing; then it becomes master."""
    with ClusterWorld(21, durable=durable) as world:
        anna, carla = _open(world, "anna", "carla")
        bob = world.make_app("bob")
        world.replica_behind()
        bob.begin(bob.sdk.session.open(timeout=30.0))
        anna.begin(anna.rename("Anna B."))
        world.kick("carla")
        world.run(1.0)
        assert world.failover(2.0) > 0
        world.run(60.0)
        assert bob.sdk.session.is_open()
        assert bool(carla.sdk.session.is_open()) is (len(world.kicked) == 0)
        return _wrong(world, opens_are_kept, updates_are_kept, kicks_are_kept, *AT_REST)


def test_s16_with_the_durable_profile_nothing_acknowledged_is_lost() -> None:
    assert _acknowledged_and_failed_over(durable=True) == []


def test_s16_the_oracles_see_what_is_lost_without_the_durable_profile() -> None:
    assert _acknowledged_and_failed_over(durable=False) != []


async def _await(work: Awaitable[object]) -> None:
    await work


def _repeated_on_another_node(work: str) -> list[str]:
    """A change whose outcome is open is repeated by another node, which finds it done. Acknowledged: by whom."""
    with ClusterWorld(22) as world:
        (anna,) = _open(world, "anna")
        (wire,) = anna.wires
        connection = next(iter(wire.node.service.hub.sessions.values()))
        owned = connection.context.owner
        assert owned is not None
        participant = participant_id_of(world.application.namespace, "anna")
        update = UpdateRequest(
            app=world.application.key, participant_id=participant, name="B.", owner=owned, update_id="u"
        )
        kick = KickParticipant(app=world.application.key, participant_id=participant)
        world.replica_behind()
        acknowledged = []
        for node in (wire.node, *(one for one in world.nodes if one is not wire.node)):
            registry = node.engine.registry
            try:
                node.run(_await(registry.update_participant(update) if work == "update" else registry.restrict(kick)))
                acknowledged.append(node.name)
            except GreenroomError as error:
                world.note(f"{node.name}: {error.reason}")
        return acknowledged


@pytest.mark.parametrize("work", ["update", "kick"])
def test_s16_what_a_repeat_finds_done_is_acknowledged_when_replicas_have_it(work: str) -> None:
    assert _repeated_on_another_node(work) == []


@pytest.mark.parametrize("work", ["update", "kick"])
def test_s16_a_repeat_that_writes_nothing_waits_for_nothing(work: str, without: Without) -> None:
    without("  mark_repeated(c)\n", "\n")
    assert _repeated_on_another_node(work) != []


def _read_before_the_failover() -> list[str]:
    """A backend reads what the replica has not received; afterwards as much happens as was lost."""
    with ClusterWorld(23) as world:
        (anna,) = _open(world, "anna")
        world.backend.read()
        world.replica_behind()
        anna.begin(anna.rename("Anna B."))
        world.run(0.1)
        world.backend.read()
        world.failover(2.0)
        anna.close()
        world.run(5.0)
        return list(backend_received_all(world))


def test_s16_a_backend_gets_every_event_and_none_that_was_lost() -> None:
    assert _read_before_the_failover() == []


def test_s16_the_oracle_sees_where_events_are_given_out_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(*_: object) -> None: ...

    monkeypatch.setattr(RedisOutbox, "_confirm", at_once)
    assert _read_before_the_failover() != []


# -- S7: what is held and what is listed ------------------------------------------------------------------------------


def _attach_lost() -> list[str]:
    """The replica does not know that a session was attached again."""
    with ClusterWorld(24, durable=False) as world:
        anna, bob = _open(world, "anna", "bob")
        bob.run(bob.watch("anna"))
        world.replica_behind()
        anna.drop()
        world.run(2.0)
        assert anna.sdk.session.state.value == "connected"
        held = anna.sdk._runner.machine.session_id
        world.failover(1.0)
        world.run(60.0)
        same = [] if held == anna.sdk._runner.machine.session_id else ["it is another session"]
        ends = [f"ended: {reason}" for reason in anna.ends]
        return [*same, *ends, *_wrong(world, *AT_REST)]


def test_s7_a_session_held_at_a_higher_generation_is_written_again() -> None:
    assert _attach_lost() == []


def test_s7_the_oracles_see_where_it_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(Recovery, "_write_again", nothing)
    assert _attach_lost() != []


def _detach_lost() -> list[str]:
    """The replica does not know that a connection was lost: it lists as attached what nobody holds."""
    with ClusterWorld(25, durable=False) as world:
        anna, _ = _open(world, "anna", "bob")
        world.replica_behind()
        anna.kill()
        world.run(1.0)
        world.failover(1.0)
        world.run(80.0)
        alive = {session.external_id for session in sessions_of(world)}
        return [f"{name} is a ghost" for name in alive - {"bob"}]


def test_s7_what_is_listed_and_not_held_is_detached() -> None:
    assert _detach_lost() == []


def test_s7_there_is_a_ghost_where_strays_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(Recovery, "_detach_stray", nothing)
    assert _detach_lost() != []


# -- S8: the partition's clock ----------------------------------------------------------------------------------------


def _another_clock() -> int:
    """The new master's clock is an hour ahead. How many were ended by that, of one connected and one who is away."""
    with ClusterWorld(26) as world:
        anna, bob = _open(world, "anna", "bob")
        anna.silence()
        world.run(30.0)
        world.redis_clock.offset += 3600.0
        world.failover(1.0)
        world.run(3.0)
        anna.heal()
        world.run(30.0)
        return len(anna.ends) + len(bob.ends) + len(anna.reopened) + len(bob.reopened)


def test_s8_the_clock_of_another_master_consumes_nobodys_grace() -> None:
    assert _another_clock() == 0


def test_s8_all_is_over_where_the_clock_may_jump(without: Without) -> None:
    without("local MAX_STEP_MS = 2000", "local MAX_STEP_MS = 1000000000")
    assert _another_clock() > 0


# -- S11: versions ----------------------------------------------------------------------------------------------------


def _update_lost(offset: float) -> list[str]:
    """A watcher was sent a change that the replica has not received; the new master's clock is behind."""
    with ClusterWorld(27, durable=False) as world:
        anna, bob = _open(world, "anna", "bob")
        bob.run(bob.watch("anna"))
        world.replica_behind()
        anna.run(anna.rename("Anna B."))
        world.run(0.3)
        world.redis_clock.offset += offset
        world.failover(1.0)
        world.run(30.0)
        assert record_of(world, "anna").name == "Anna B."
        return _wrong(world, versions_only_grow, watchers_converged)


@pytest.mark.parametrize("offset", [0.0, -600.0])
def test_s11_what_was_passed_on_is_written_above_what_was_lost(offset: float) -> None:
    assert _update_lost(offset) == []


def test_s11_watchers_hold_what_is_not_stored_where_nobody_raises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(Recovery, "_raise_version", nothing)
    with pytest.raises(AssertionError):
        assert _update_lost(0.0) == []


def _watched_again_at_once() -> list[str]:
    """Who is watched is asked for again before the node that holds their session has reached the new master."""
    with ClusterWorld(29) as world:
        anna, bob = _open(world, "anna", "bob")
        bob.run(bob.watch("anna"))
        (holder,) = (wire.node for wire in anna.wires)
        assert holder not in {wire.node for wire in bob.wires}
        world.replica_behind()
        anna.begin(anna.rename("Anna B."))
        world.run(0.3)
        world.cut_off(holder)
        world.failover(1.0)
        bob.begin(bob.watch("anna"))
        world.run(0.5)
        world.joined_up(holder)
        world.run(30.0)
        return _wrong(world, versions_only_grow, watchers_converged)


def test_s11_a_watch_is_not_answered_below_what_was_passed_on() -> None:
    assert _watched_again_at_once() == []


def _resumed_elsewhere() -> list[str]:
    """As above, and the watcher comes to a node that has passed nothing on: what it holds says what it has seen."""
    with ClusterWorld(53) as world:
        anna, bob = _open(world, "anna", "bob")
        bob.run(bob.watch("anna"))
        (holder,) = (wire.node for wire in anna.wires)
        (before,) = (wire.node for wire in bob.wires)
        world.replica_behind()
        anna.begin(anna.rename("Anna B."))
        world.run(0.3)
        world.cut_off(holder)
        for node in {holder, before}:
            node.is_listening = False
        world.failover(1.0)
        bob.drop()
        world.run(1.0)
        for node in {holder, before}:
            node.is_listening = True
        world.joined_up(holder)
        world.run(30.0)
        assert {wire.node for wire in bob.wires} == set(world.nodes) - {holder, before}
        return _wrong(world, versions_only_grow, watchers_converged)


def test_s11_a_resume_is_not_answered_below_what_the_client_holds() -> None:
    assert _resumed_elsewhere() == []


def test_s11_an_observer_goes_back_where_what_it_holds_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "LOOKS", 0)
    assert _resumed_elsewhere() != []


def test_s11_an_observer_goes_back_where_the_watch_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "LOOKS", 0)
    assert _watched_again_at_once() != []


def _published_and_lost() -> list[str]:
    """An unacknowledged kick and an unacknowledged update were published, and are lost: what is written above them has
    its events, and no other."""
    with ClusterWorld(21) as world:
        anna, carla = _open(world, "anna", "carla")
        world.replica_behind()
        world.kick("carla")
        anna.begin(anna.rename("Anna B."))
        world.run(0.4)
        world.failover(2.0)
        world.run(60.0)
        assert not carla.ends
        return _wrong(world, *AT_REST)


def test_s11_what_is_written_above_has_its_events_and_no_other() -> None:
    assert _published_and_lost() == []


def test_s11_a_backend_is_notified_twice_where_watchers_and_stream_are_taken_for_one(without: Without) -> None:
    without("if p.fresh then\n    p.shown = given.shown", "if true then\n    p.shown = given.shown")
    assert _published_and_lost() != []


# -- S13: numbers of changes ------------------------------------------------------------------------------------------


def _number_used_twice() -> list[str]:
    """One change is lost, and the one that takes its number is not received."""
    with ClusterWorld(29, durable=False) as world:
        anna, bob = _open(world, "anna", "bob")
        bob.run(bob.watch("anna"))
        (holder,) = (wire.node for wire in anna.wires)
        assert holder not in {wire.node for wire in bob.wires}
        world.run(5.0)
        world.replica_behind()
        anna.run(anna.rename("Anna B."))
        world.run(0.3)
        world.cut_off(holder)
        world.failover(1.0)
        world.run(0.5)
        world.losses = 1.0
        world.joined_up(holder)
        world.run(0.5)
        world.losses = 0.0
        world.run(30.0)
        return _wrong(world, versions_only_grow, watchers_converged)


def test_s13_a_change_with_the_number_of_a_lost_one_is_noticed() -> None:
    assert _number_used_twice() == []


def test_s13_it_is_not_where_numbers_of_the_old_master_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisBus, "_forget", lambda *_: None)
    assert _number_used_twice() != []


# -- S11, of nobody's session -----------------------------------------------------------------------------------------


def _farewell_lost(offset: float) -> list[str]:
    """The same of someone who has gone, so that no node holds a session of theirs."""
    with ClusterWorld(28, durable=False) as world:
        anna, bob = _open(world, "anna", "bob")
        bob.run(bob.watch("anna"))
        world.replica_behind()
        anna.close()
        world.run(0.3)
        world.redis_clock.offset += offset
        world.failover(1.0)
        world.run(90.0)
        wrong = _wrong(world, versions_only_grow, watchers_converged)
        bob.close()
        world.run(5.0)
        return [*wrong, *_wrong(world, no_ghosts)]


@pytest.mark.parametrize("offset", [0.0, -600.0])
def test_s11_also_of_who_has_gone(offset: float) -> None:
    assert _farewell_lost(offset) == []


def test_s11_nobody_is_notified_of_who_has_gone_where_nobody_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recovery, "_suspect", lambda *_: None)
    assert _farewell_lost(-600.0) != []


# -- S11, of whom nothing is stored -----------------------------------------------------------------------------------


def _open_lost(*, resumes_after: float, returns: bool = False) -> list[str]:
    """A watcher was sent a session of somebody new, which is lost, and comes to another node. returns: so does who was
    lost, while the new master's clock is behind what was sent."""
    with ClusterWorld(61, durable=False) as world:
        (bob,) = _open(world, "bob")
        bob.run(bob.watch("carla"))
        (before,) = (wire.node for wire in bob.wires)
        world.replica_behind()
        world.run(60.0)
        (carla,) = _open(world, "carla")
        (seen,) = (one for watch in bob.watches for one in watch.participants.values())
        assert seen.sessions == 1
        carla.kill()
        world.redis_clock.offset -= 600.0 * returns
        world.failover(1.0)
        world.run(resumes_after)
        before.is_listening = False
        bob.drop()
        world.run(1.0)
        before.is_listening = True
        assert before not in {wire.node for wire in bob.wires}
        if returns:
            _open(world, "carla")
            assert record_of(world, "carla").version < bob.seen[seen.id][-1].version
        world.run(60.0)
        (held,) = (one for watch in bob.watches for one in watch.participants.values())
        assert held.sessions == returns
        return _wrong(world, versions_only_grow, watchers_converged)


@pytest.mark.parametrize("resumes_after", [0.5, 40.0])
def test_s11_who_was_lost_is_not_answered_below_what_the_client_holds(resumes_after: float) -> None:
    assert _open_lost(resumes_after=resumes_after) == []


def test_s11_who_was_lost_and_returns_below_what_was_answered_is_written_above_it() -> None:
    assert _open_lost(resumes_after=20.0, returns=True) == []


@pytest.mark.interpreted
@pytest.mark.parametrize("without_guard", [(EngineCalls, "_replace_forgotten"), (Recovery, "_suspect")])
def test_s11_a_watcher_goes_back_or_holds_what_is_not_stored_without(
    without_guard: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*without_guard, lambda *_: None)
    with pytest.raises(AssertionError):
        assert _open_lost(resumes_after=20.0, returns=True) == []
