"""Several devices and limits: S3, and what watchers see of a replacement."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.engines.base import ENDED_OF_PARTICIPANT, SessionQuery
from greenroom.engines.paging import all_sessions
from greenroom.model import EndReason, Presence, RegistryState, SessionPolicy
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP

TWO = SessionPolicy(max_sessions=2)
TWO_OLDEST = SessionPolicy(max_sessions=2, when_full="replace_oldest")


class LimitsContract(ContractBase):
    """Who makes room for whom."""

    async def test_s2_the_same_device_takes_over_its_own_ghost(self) -> None:
        async with self.make_world() as w:
            ghost = await w.client(device_id="laptop")
            await w.advance(1)
            new = await w.client(device_id="laptop", device_name="Laptop")
            (replaced,) = new.attached.replaced
            assert (replaced.id, replaced.generation, replaced.node) == (ghost.id, 1, w.node)
            assert replaced.state is RegistryState.ATTACHED
            assert replaced.end_reason is EndReason.REPLACED
            stored = await ghost.stored()
            assert stored is not None
            assert stored.end_reason is EndReason.REPLACED
            assert new.attached.participant.sessions == 1

    async def test_s2_the_same_device_may_be_allowed_twice(self) -> None:
        async with self.make_world() as w:
            policy = SessionPolicy(same_device="allow")
            await w.open(device_id="laptop", policy=policy)
            second = await w.open(device_id="laptop", policy=policy)
            assert second.replaced == ()
            assert second.participant.sessions == 2

    async def test_watchers_see_one_change_when_a_session_is_replaced(self) -> None:
        async with self.make_world() as w:
            ghost = await w.client(device_id="laptop")
            await w.engine.bus.watch(APP, [ghost.participant_id])
            seen = len(await w.events())
            new = await w.client(device_id="laptop", device_name="Laptop")
            await w.wait_for_delivery()
            (change,) = w.listener.records(new.participant_id)
            assert (change.shown, change.sessions) == (Presence.ONLINE, 1)
            assert change.version > ghost.attached.participant.version
            events = (await w.events())[seen:]
            assert [event.type for event in events] == ["session.ended", "session.opened"]
            assert events[0].id == ghost.id + ":ended"
            assert events[0].data["reason"] == "replaced"
            assert events[0].data["by"] == {"id": "laptop", "name": "Laptop"}

    async def test_an_unreachable_ghost_that_is_replaced_was_never_offline(self) -> None:
        async with self.make_world() as w:
            ghost = await w.client(device_id="laptop")
            await ghost.detach()
            await w.advance(5)
            seen = len(await w.events())
            await w.open(device_id="laptop")
            assert (await w.types())[seen:] == ["session.ended", "session.opened", "participant.online"]

    async def test_s3_full_is_full_under_reject(self) -> None:
        async with self.make_world() as w:
            await w.open(policy=TWO)
            await w.open(policy=TWO)
            seen = await w.events()
            with refused(ErrorCode.TOO_MANY_SESSIONS):
                await w.open(policy=TWO)
            assert await w.events() == seen
            assert (await w.record()).sessions == 2

    async def test_s3_the_oldest_detached_one_yields_first_also_under_reject(self) -> None:
        async with self.make_world() as w:
            a = await w.client(policy=TWO)
            b = await w.client(policy=TWO)
            await b.detach()
            await w.advance(1)
            await a.detach()
            await w.advance(1)
            c = await w.open(policy=TWO)
            assert [session.id for session in c.replaced] == [b.id]
            assert c.participant.sessions == 2

    async def test_replace_oldest_takes_the_one_opened_first(self) -> None:
        async with self.make_world() as w:
            a = await w.client(policy=TWO_OLDEST)
            await w.advance(1)
            await w.client(policy=TWO_OLDEST)
            await w.advance(1)
            await a.resume()  # opened first, whatever happened since
            c = await w.open(policy=TWO_OLDEST)
            assert [session.id for session in c.replaced] == [a.id]
            assert c.replaced[0].generation == 2

    async def test_s3_limits_are_of_one_participant(self) -> None:
        async with self.make_world() as w:
            one = SessionPolicy(max_sessions=1)
            await w.open("alice", policy=one)
            await w.open("bob", policy=one)
            await w.open("alice", app="app-2", policy=one)

    async def test_s3_an_end_makes_room(self) -> None:
        async with self.make_world() as w:
            one = SessionPolicy(max_sessions=1)
            a = await w.client(policy=one)
            await a.close()
            assert (await w.open(policy=one)).created

    async def test_of_one_participant_the_latest_ended_sessions_are_kept(self) -> None:
        async with self.make_world() as w:
            other = await w.client("bob")
            await other.close()
            ended = []
            for _ in range(ENDED_OF_PARTICIPANT + 6):
                client = await w.client("alice")
                await client.close()
                ended.append(client)
            for client in (ended[0], ended[5]):
                assert await client.stored() is None
            for client in (ended[6], ended[-1], other):
                assert await client.stored() is not None
            query = SessionQuery(app=APP, participant_id=ended[0].participant_id, ended=True)
            listed = {one.id async for one in all_sessions(w.engine.registry, query)}
            assert listed == {client.id for client in ended[6:]}
            with refused(ErrorCode.SESSION_ENDED):
                await ended[-1].open()  # its openId is remembered
            await w.step(1000)
            await w.advance(2)
            assert await ended[-1].stored() is not None

    async def test_s3_the_applications_limit(self) -> None:
        async with self.make_world() as w:
            if not w.exact_application_limit:
                return
            a = await w.client("alice", max_application_sessions=2)
            await w.open("bob", max_application_sessions=2)
            with refused(ErrorCode.APPLICATION_LIMIT_REACHED):
                await w.open("carol", max_application_sessions=2)
            await a.close()
            await w.open("carol", max_application_sessions=2)

    async def test_s3_replacing_ones_own_session_needs_no_room_in_the_application(self) -> None:
        async with self.make_world() as w:
            await w.open("alice", device_id="d", max_application_sessions=1)
            await w.advance(3)
            again = await w.open("alice", device_id="d", max_application_sessions=1)
            assert len(again.replaced) == 1
