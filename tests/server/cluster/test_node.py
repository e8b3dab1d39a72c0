"""The node's life: lease, fence, taking back, comparing, silence. No sockets, no sleeping."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from greenroom.core.states import ServerState
from greenroom.engines.base import Change, Engine, NodeBeat, SessionQuery
from greenroom.engines.clock import ManualClock
from greenroom.engines.redis import RedisEngine
from greenroom.model import ParticipantRecord, RegistryState, participant_id_of, partition_of
from greenroom.server.cluster.node import Node, NodeState
from greenroom.server.config import ServerConfig
from tests.core.server.rig import APP, NAMESPACE
from tests.server.shell import is_in, running_shell
from tests.support.lua_redis import LuaServer, LuaStore
from tests.support.sim.loop import Timeline


async def test_a_node_counts_from_when_the_renewal_was_sent() -> None:
    async with running_shell() as shell:
        node = shell.node
        beat = shell.engine.registry.beat

        class Slow:
            async def beat(self, request: NodeBeat) -> Any:
                result = await beat(request)
                shell.clock.advance(6.5)  # the answer took so long
                return result

            def __getattr__(self, name: str) -> Any:
                return getattr(shell.inner.registry, name)

        shell.engine.registry = Slow()
        await node.beat()
        assert node.current_lease() is not None
        shell.clock.advance(0.6)
        assert node.current_lease() is None
        node.check_fence()
        assert node.state is NodeState.FENCED


def test_a_beat_that_had_no_answer_in_time_is_followed_by_another_before_the_fence() -> None:
    timeline = Timeline()
    loop = timeline.make_loop("node")
    config = ServerConfig()
    began: list[float] = []

    async def beat() -> None:
        began.append(loop.time())
        if len(began) == 2:  # lost
            await asyncio.sleep(config.renew_interval)

    life = loop.create_task(Node.run(cast(Any, SimpleNamespace(_config=config, beat=beat))))
    timeline.run(20)
    assert [after - before for before, after in pairwise(began)] == [config.renew_interval] * (len(began) - 1)
    assert began[2] - began[0] < config.fence_after
    life.cancel()
    timeline.close()


async def test_a_machine_that_slept_writes_nothing_when_it_wakes() -> None:
    """Even before anything has noticed: the lease is looked at on the clock each time."""
    async with running_shell() as shell:
        connection, link = await shell.open()
        shell.clock.advance(60)
        shell.say(connection, "session.updateParticipantInfo", 9, updateId="u", name="A")
        await shell.settle()
        assert link.messages[-1]["error"]["data"]["reason"] == "fenced"


async def test_an_engine_away_for_less_than_the_fence_is_noticed_by_nobody() -> None:
    async with running_shell() as shell:
        _, link = await shell.open()
        shell.away = True
        await shell.advance(5)
        shell.away = False
        await shell.advance(2)
        assert not link.frames
        assert shell.node.state is NodeState.ACTING


@pytest.mark.parametrize("others", [(), ("nodes", "directory")], ids=["sessions", "sessions and the list of nodes"])
async def test_a_partition_that_is_away_costs_its_own_sessions_alone(others: tuple[str, ...]) -> None:
    server: LuaServer
    away = {f"p{partition_of(APP, participant_id_of(NAMESPACE, 'anna'))}", *others}

    def on_redis(clock: ManualClock) -> Engine:
        nonlocal server
        server = LuaServer(lambda: clock.now_ms() * 1000)
        return RedisEngine("redis://in-process", store=LuaStore(server))

    async with running_shell(on_redis) as shell:
        anna, anna_link = await shell.open()
        leaving, _ = await shell.open(openId="anna's second session")
        bob, bob_link = await shell.open("bob")
        lease, known = shell.node.lease, shell.node.known
        server.fate = lambda call: "away" if call.tag in away else None
        await shell.advance(5)
        assert is_in(anna, ServerState.OPEN), "for less than the fence it is noticed by nobody"
        leaving.lost(1006, "")
        await shell.advance(85)
        assert is_in(anna, ServerState.FENCED)
        assert anna_link.notifications("session.moveOn")
        assert len(shell.writes.deferred) == 1
        assert is_in(bob, ServerState.OPEN)
        assert not bob_link.frames
        assert (shell.node.state, shell.node.not_ready()) == (NodeState.ACTING, None)
        assert (await shell.record(bob)).state is RegistryState.ATTACHED
        assert [one.node for one in shell.node.known] == [one.node for one in known] == ["n1"]
        carol, _ = await shell.open("carol")
        bob.lost(1006, "")
        await shell.settle()
        assert (await shell.record(bob)).state is RegistryState.DETACHED, "nothing of others waits for what is deferred"
        server.fate = lambda call: None
        await shell.advance(3)
        assert is_in(anna, ServerState.OPEN)
        assert len(anna_link.notifications("session.stay")) == 1
        assert not shell.writes.deferred
        assert (await shell.record(leaving)).state is RegistryState.DETACHED
        assert is_in(carol, ServerState.OPEN)
        assert (shell.node.lease, (await shell.record(anna)).lease) == (lease, lease)


async def test_an_open_answered_under_a_lapsed_lease_is_taken_back() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        old = connection.context.owner
        assert old is not None
        del shell.hub.sessions[old.session_id]
        shell.lease.replaced("f" * 32)
        await shell.node.beat()
        shell.say(connection, "ping", 3)
        await shell.settle()
        owner = connection.context.owner
        assert owner is not None
        assert (owner.generation, owner.lease) == (2, "f" * 32)
        assert is_in(connection, ServerState.OPEN)
        assert link.end is None


async def test_a_clock_that_is_off_makes_the_node_not_ready() -> None:
    async with running_shell() as shell:
        shell.clocks.ahead = 6.0
        await shell.node.beat()
        assert "clock" in (shell.node.not_ready() or "")
        shell.clocks.ahead = -4.0
        await shell.node.beat()
        assert shell.node.not_ready() is None


async def test_leaving_gives_the_lease_back() -> None:
    async with running_shell() as shell:
        await shell.open()
        await shell.node.leave()
        assert shell.node.current_lease() is None
        await shell.inner.registry.reap()
        page = await shell.inner.registry.sessions(SessionQuery(node="n1"))
        assert all(one.state is RegistryState.DETACHED for one in page.items)


async def test_a_beat_says_who_this_is_and_what_it_watches() -> None:
    async with running_shell() as shell:
        await shell.open()
        beat = shell.node._beat()
        anna = participant_id_of(NAMESPACE, "anna")
        assert beat.watched == (partition_of(APP, anna),)
        assert (beat.node, beat.sessions, beat.ready) == ("n1", 1, True)
        assert msgspec.json.encode(beat)


async def test_changes_received_move_the_partitions_count() -> None:
    async with running_shell() as shell:
        shell.hub.changed(Change(3, 17, ParticipantRecord(app=APP, id="x", version=1)))
        shell.hub.changed(Change(3, 16, ParticipantRecord(app=APP, id="x", version=2)))
        assert shell.hub.seen[3] == 17
        shell.hub.counted(3, 18)
        assert shell.hub.seen[3] == 18
