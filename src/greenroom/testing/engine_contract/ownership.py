"""Who may write a session, and nodes that die: S7, S8, S10, promises 3 and 4."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.core.requests import Owner
from greenroom.engines.base import NodeBeat, SessionQuery
from greenroom.model import EndReason, Presence, RegistryState
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import Client, World


class OwnershipContract(ContractBase):
    """Every write is compare-and-set on (generation, lease); a node's life is one lease."""

    async def test_s7_an_overtaken_owner_writes_nothing(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            stale = a.owner
            await a.resume()
            before = (await a.stored(), await a.record(), await w.events())
            assert not await w.engine.registry.detach(stale, 40)
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await a.update(owner=stale, name="Mallory")
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await w.engine.registry.refresh(stale, w.token())
            assert await w.engine.registry.close(a.end_request(owner=stale)) is None
            assert (await a.stored(), await a.record(), await w.events()) == before

    async def test_s7_the_lease_counts_like_the_generation(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            stranger = Owner(a.id, a.session.generation, "another lease")
            assert not await w.engine.registry.detach(stranger, 40)
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await a.update(owner=stranger, name="Mallory")
            assert await w.engine.registry.close(a.end_request(owner=stranger)) is None
            assert await a.detach()

    async def test_s7_writes_for_ended_and_unknown_sessions_say_so(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.close(EndReason.TOKEN_EXPIRED)
            with refused(ErrorCode.SESSION_ENDED) as refusal:
                await a.update(name="Late")
            assert refusal.end_reason == EndReason.TOKEN_EXPIRED
            assert not await a.detach()
            with refused(ErrorCode.STATE_LOST):
                await a.update(owner=Owner(a.id[:-1] + "f", 1, w.lease), name="Nobody")

    async def test_s7_a_node_takes_its_own_session_back(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            old = a.owner
            secret = a.secret
            await w.join(w.node, "lease-new")
            back = await w.engine.registry.attach(a.take_back_request(old, w.node, "lease-new"))
            assert (back.session.generation, back.session.lease) == (2, "lease-new")
            assert back.session.state is RegistryState.ATTACHED
            stored = await a.stored()
            assert stored is not None
            assert stored.timeline[-1].what == "taken_back"
            a.secret = secret  # it was left alone
            assert (await a.resume(lease="lease-new")).session.generation == 3

    async def test_s7_a_node_takes_back_what_the_reaper_detached(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            old = a.owner
            w.kill(w.node)
            await w.advance(15)
            assert (await a.record()).presence is Presence.UNREACHABLE
            await w.join(w.node, "lease-new")
            back = await w.engine.registry.attach(a.take_back_request(old, w.node, "lease-new"))
            assert back.participant.presence is Presence.ONLINE
            assert back.session.generation == 2

    async def test_s7_what_was_taken_meanwhile_is_not_taken_back(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            old = a.owner
            await w.join("node-2", "lease-2")
            await a.resume(node="node-2", lease="lease-2")
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await w.engine.registry.attach(a.take_back_request(old, w.node, w.lease))
            await a.close()
            with refused(ErrorCode.SESSION_ENDED):
                await w.engine.registry.attach(a.take_back_request(old, w.node, w.lease))

    async def test_s6_a_close_kept_through_an_outage_still_counts(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            w.kill(w.node)
            await w.advance(15)  # the reaper detached it; nobody took it since
            ended = await a.close()
            assert ended is not None
            assert (await a.record()).presence is Presence.OFFLINE

    async def test_promise_4_a_dead_nodes_sessions_are_unreachable_within_12_s_and_ended_within_53(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.join("node-2", "lease-2")
            w.kill(w.node)
            await w.advance(8)
            assert (await a.record()).presence is Presence.ONLINE
            await w.advance(4)
            record = await a.record()
            assert record.presence is Presence.UNREACHABLE
            assert record.shown is Presence.ONLINE
            await w.advance(3)
            assert (await a.record()).shown is Presence.UNREACHABLE
            done = await w.advance(38)
            assert [session.id for session in done.ended] == [a.id]
            assert done.ended[0].end_reason is EndReason.TIMEOUT
            assert (await a.record()).presence is Presence.OFFLINE

    async def test_a_living_nodes_sessions_cost_nothing_and_stay(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.advance(200)
            stored = await a.stored()
            assert stored is not None
            assert (stored.state, stored.generation) == (RegistryState.ATTACHED, 1)
            assert await w.types() == ["session.opened", "participant.online"]

    async def test_s7_a_lapsed_lease_is_never_renewed(self) -> None:
        async with self.make_world() as w:
            await w.join("node-2", "lease-2")
            a = await w.client(node="node-2", lease="lease-2")
            w.kill("node-2")
            await w.advance(15)
            again = await w.engine.registry.beat(NodeBeat(node="node-2", boot="b", lease="lease-2"))
            assert not again.renewed
            with refused(ErrorCode.FENCED):
                await a.resume(node="node-2", lease="lease-2")
            fresh = await w.engine.registry.beat(NodeBeat(node="node-2", boot="b", lease="lease-2b"))
            assert fresh.renewed

    async def test_a_node_that_leaves_gives_its_sessions_free_at_once(self) -> None:
        async with self.make_world() as w:
            await w.join("node-2", "lease-2")
            a = await w.client(node="node-2", lease="lease-2")
            w.kill("node-2")
            await w.engine.registry.beat(NodeBeat(node="node-2", boot="b", lease="lease-2", leaving=True))
            await w.advance(1)
            assert (await a.record()).presence is Presence.UNREACHABLE
            result = await w.engine.registry.beat(NodeBeat(node=w.node, boot="boot-of-node-1", lease=w.lease))
            assert [node.node for node in result.nodes] == [w.node]

    async def test_a_beat_reports_the_cluster(self) -> None:
        async with self.make_world() as w:
            await w.open("alice")
            await w.open("bob", app="app-2")
            await w.advance(3)
            beat = NodeBeat(node="node-2", boot="b", lease="l2", url="http://two", version="1", sessions=7)
            result = await w.engine.registry.beat(beat)
            assert result.renewed
            assert result.now is not None
            assert abs(result.now - w.now_ms()) < 2000
            assert result.application_sessions == {"app-1": 1, "app-2": 1}
            two = next(node for node in result.nodes if node.node == "node-2")
            assert (two.url, two.version, two.sessions, two.lease) == ("http://two", "1", 7, "l2")
            assert 0 < two.lease_left <= 10.1

    async def test_s8_time_that_nobody_saw_pass_consumes_no_grace(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.detach(40)
            await w.advance(10)
            await w.step(3600)  # the service was off, the engine was away, or its clock was set
            await w.reap()
            stored = await a.stored()
            assert stored is not None
            assert stored.state is RegistryState.DETACHED
            await w.advance(27)
            stored = await a.stored()
            assert stored is not None
            assert stored.state is RegistryState.DETACHED
            done = await w.advance(4)
            assert [session.id for session in done.ended] == [a.id]

    async def test_s8_no_node_looks_dead_because_time_jumped(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.step(3600)
            await w.reap()
            assert (await a.record()).presence is Presence.ONLINE
            assert (await w.engine.registry.beat(NodeBeat(node=w.node, boot="b", lease=w.lease))).renewed

    async def attached_and_detached_at_a_restart(self, w: World) -> tuple[Client, Client]:
        """One that was attached when the engine stopped, and one with five seconds left of its grace."""
        attached = await w.client("alice")
        detached = await w.client("bob")
        await detached.detach(40)
        await w.advance(35)
        await w.step(100_000)
        await w.restart()
        assert (await attached.record()).presence is Presence.UNREACHABLE
        assert (await attached.record()).shown is Presence.ONLINE
        return attached, detached

    async def test_s10_after_a_restart_every_session_has_its_grace(self) -> None:
        async with self.make_world() as w:
            if not w.restartable:
                return
            attached, detached = await self.attached_and_detached_at_a_restart(w)
            await w.advance(38)
            page = await w.engine.registry.sessions(SessionQuery())
            assert {session.id for session in page.items} == {attached.id, detached.id}
            assert (await attached.resume()).session.generation == 2
            done = await w.advance(4)
            assert [session.id for session in done.ended] == [detached.id]
            assert (await attached.record()).presence is Presence.ONLINE

    async def test_promise_1_everything_is_there_after_a_restart(self) -> None:
        async with self.make_world() as w:
            if not w.restartable:
                return
            a = await w.client(name="Alice", device_id="d")
            await a.update(name="Alicia")
            events, record = await w.events(), await a.record()
            await w.restart()
            assert await w.events() == events
            after = await a.record()
            assert (after.name, after.revision, after.sessions) == ("Alicia", 2, 1)
            assert after.version >= record.version
            again = await a.open(lease=w.lease)
            assert not again.created
            assert again.session.id == a.request.session_id
