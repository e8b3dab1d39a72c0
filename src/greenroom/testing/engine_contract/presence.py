"""Presence, and what is published of it when: promise 4."""

from __future__ import annotations

from greenroom.model import EndReason, Presence
from greenroom.testing.engine_contract.base import ContractBase
from greenroom.testing.engine_world import APP


class PresenceContract(ContractBase):
    """The truth is stored at once, and published when it has lasted."""

    async def test_unreachable_is_true_at_once_and_published_after_two_seconds(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.engine.bus.watch(APP, [a.participant_id])
            version = a.attached.participant.version
            await a.detach()
            record = await a.record()
            assert (record.presence, record.shown, record.version) == (Presence.UNREACHABLE, Presence.ONLINE, version)
            await w.advance(1)
            await w.wait_for_delivery()
            assert w.listener.changes == []
            done = await w.advance(2)
            await w.wait_for_delivery()
            assert done.published == 1
            record = await a.record()
            assert (record.presence, record.shown) == (Presence.UNREACHABLE, Presence.UNREACHABLE)
            assert record.version > version
            assert w.listener.records(a.participant_id)[-1] == record
            assert (await w.types())[2:] == ["session.detached", "participant.unreachable"]

    async def test_a_resume_within_two_seconds_is_not_published(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.engine.bus.watch(APP, [a.participant_id])
            before = await w.events()
            await a.detach()
            await w.advance(1)
            back = await a.resume()
            await w.advance(10)
            await w.wait_for_delivery()
            assert back.participant.version == a.attached.participant.version
            assert await w.events() == before
            assert w.listener.changes == []
            assert (await a.record()).presence is Presence.ONLINE

    async def test_a_second_gap_gets_its_own_two_seconds(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            for _ in range(4):
                await a.detach()
                await w.advance(1)
                await a.resume()
                await w.advance(0.5)
            assert await w.types() == ["session.opened", "participant.online"]

    async def test_a_resume_after_it_was_published_is_published_too(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.engine.bus.watch(APP, [a.participant_id])
            await a.detach()
            await w.advance(3)
            published = (await a.record()).version
            back = await a.resume()
            await w.wait_for_delivery()
            assert back.participant.version > published
            assert back.participant.shown is Presence.ONLINE
            assert (await w.types())[4:] == ["session.resumed", "participant.online"]
            assert [record.shown for record in w.listener.records(a.participant_id)] == [
                Presence.UNREACHABLE,
                Presence.ONLINE,
            ]

    async def test_a_grace_ends_when_it_is_over_and_not_before(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.detach(40)
            assert (await w.advance(39)).ended == ()
            done = await w.advance(2)
            assert [session.id for session in done.ended] == [a.id]
            assert done.ended[0].end_reason is EndReason.TIMEOUT
            record = await a.record()
            assert (record.presence, record.shown, record.sessions) == (Presence.OFFLINE, Presence.OFFLINE, 0)
            assert (await w.types())[-2:] == ["session.ended", "participant.offline"]

    async def test_a_page_that_was_left_is_gone_within_seven_seconds(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.detach(5)
            await w.advance(4)
            assert (await a.record()).sessions == 1
            await w.advance(3)
            assert (await a.record()).presence is Presence.OFFLINE

    async def test_two_devices_are_gone_when_the_last_one_is(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            b = await w.client()
            assert (await a.record()).sessions == 2
            await a.close()
            record = await a.record()
            assert (record.presence, record.sessions) == (Presence.ONLINE, 1)
            assert "participant.offline" not in await w.types()
            await b.close()
            assert (await a.record()).presence is Presence.OFFLINE
            assert (await w.types()).count("participant.online") == 1

    async def test_one_of_two_connections_lost_is_published_for_the_session_only(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.client()
            await w.engine.bus.watch(APP, [a.participant_id])
            version = (await a.record()).version
            await a.detach()
            await w.advance(3)
            await w.wait_for_delivery()
            assert (await a.record()).presence is Presence.ONLINE
            assert (await a.record()).version == version
            assert (await w.types())[3:] == ["session.detached"]
            assert w.listener.changes == []
            await a.resume()
            assert (await w.types())[3:] == ["session.detached", "session.resumed"]

    async def test_the_last_connection_closed_beside_a_detached_one_is_unreachable(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            b = await w.client()
            await a.detach(40)
            await w.advance(5)
            await b.close()
            record = await a.record()
            assert (record.presence, record.shown, record.sessions) == (Presence.UNREACHABLE, Presence.ONLINE, 1)
            await w.advance(3)
            assert (await a.record()).shown is Presence.UNREACHABLE
            assert (await w.types())[-1] == "participant.unreachable"

    async def test_a_detached_session_that_ends_within_two_seconds_is_never_published_as_detached(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.detach(40)
            await a.close()
            await w.advance(5)
            assert (await w.types())[2:] == ["session.ended", "participant.offline"]

    async def test_coming_back_from_offline_is_published(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await a.close()
            await w.advance(60)
            back = await w.open()
            assert back.participant.name == "Alice"
            assert back.participant.version > a.attached.participant.version
            assert (await w.types())[-2:] == ["session.opened", "participant.online"]

    async def test_last_seen_is_when_the_participant_was_last_there(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.advance(10)
            await a.detach(40)
            lost_at = w.now_ms()
            await w.advance(50)
            record = await a.record()
            assert record.presence is Presence.OFFLINE
            assert record.last_seen is not None
            assert abs(record.last_seen - lost_at) <= 1000

    async def test_anonymous_participants_are_forgotten_with_their_last_session(self) -> None:
        async with self.make_world() as w:
            a = await w.client(None)
            await w.engine.bus.watch(APP, [a.participant_id])
            await a.detach(5)
            await w.advance(8)
            await w.wait_for_delivery()
            assert (await a.record()).version == 0
            last = w.listener.records(a.participant_id)[-1]
            assert (last.presence, last.sessions) == (Presence.OFFLINE, 0)
            assert (await w.types())[-1] == "participant.offline"
