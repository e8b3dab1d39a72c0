"""`open`: S2 in its order, S4, S6's repeats, promise 1."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.core.requests import Displaced
from greenroom.engines.base import UPDATE_EVENT_PERIOD, BlockParticipant
from greenroom.model import EndReason, ParticipantRecord, Presence, RegistryState
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP, secret


class OpeningContract(ContractBase):
    """What `open` does and refuses."""

    async def test_promise_1_open_means_registered(self) -> None:
        async with self.make_world() as w:
            a = await w.client(
                name="Alice", avatar_url="/a.png", device_id="d1", device_name="Phone", sdk="py", address="::1"
            )
            session, record = a.session, a.attached.participant
            assert a.attached.created
            assert a.attached.displaced is None
            assert a.attached.replaced == ()
            assert (session.id, session.generation, session.state) == (a.request.session_id, 1, RegistryState.ATTACHED)
            assert (session.node, session.lease, session.jti) == (w.node, w.lease, a.request.token.jti)
            assert (session.device_id, session.device_name, session.sdk, session.address) == (
                "d1",
                "Phone",
                "py",
                "::1",
            )
            assert session.scopes == ("*",)
            assert (record.name, record.avatar_url, record.external_id) == ("Alice", "/a.png", "alice")
            assert (record.presence, record.shown, record.sessions) == (Presence.ONLINE, Presence.ONLINE, 1)
            assert abs(session.opened_at - w.now_ms()) < 1000
            assert await a.record() == record
            stored = await a.stored()
            assert stored is not None
            assert [entry.what for entry in stored.timeline] == ["opened"]
            assert await w.types() == ["session.opened", "participant.online"]

    async def test_a_profile_at_creation_is_revision_one_and_none_is_zero(self) -> None:
        async with self.make_world() as w:
            assert (await w.open("alice", name="Alice")).participant.revision == 1
            assert (await w.open("bob")).participant.revision == 0
            assert "participant.updated" not in await w.types()

    async def test_s2_a_repeated_open_is_an_attach(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            before = await w.events()
            first = a.session
            again = await a.open(name="Someone else", session_id=a.request.session_id[:-1] + "f")
            assert not again.created
            assert (again.session.id, again.session.generation) == (first.id, 2)
            assert again.displaced == Displaced(w.node, first.id, 1)
            assert again.participant.name == "Alice"
            assert again.participant.version == a.attached.participant.version
            assert (await a.record()).sessions == 1
            assert await w.events() == before

    async def test_s2_a_repeated_open_may_come_to_another_node(self) -> None:
        async with self.make_world() as w:
            await w.join("node-2", "lease-2")
            a = await w.client()
            again = await a.open(node="node-2", lease="lease-2")
            assert again.displaced == Displaced(w.node, a.id, 1)
            assert (again.session.node, again.session.lease) == ("node-2", "lease-2")

    async def test_s2_a_repeated_open_finds_its_detached_session(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.detach(10)
            again = await a.open()
            assert again.displaced is None
            assert again.session.state is RegistryState.ATTACHED
            assert again.participant.presence is Presence.ONLINE

    async def test_s2_a_known_open_id_with_another_secret_is_refused(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            with refused(ErrorCode.OPEN_ID_CONFLICT):
                await a.open(secret_hash=secret("another"))
            assert (await a.record()).sessions == 1

    async def test_s2_a_known_open_id_of_an_ended_session_says_how(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.close()
            with refused(ErrorCode.SESSION_ENDED) as refusal:
                await a.open()
            assert refusal.end_reason == EndReason.CLOSED
            with refused(ErrorCode.OPEN_ID_CONFLICT):
                await a.open(secret_hash=secret("another"))

    async def test_s2_open_ids_are_kept_ten_minutes_after_the_end(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.close()
            await w.advance(590)
            with refused(ErrorCode.SESSION_ENDED):
                await a.open()
            await w.advance(14)
            again = await a.open(session_id=w.open_request().session_id)
            assert again.created

    async def test_s1_a_late_repeat_of_open_never_undoes_a_resume(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.resume()
            late = a.attached
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await a.open()
            stored = await a.stored()
            assert stored is not None
            assert stored.generation == late.session.generation

    async def test_s2_open_ids_belong_to_their_participant(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice", open_id="the same")
            b = await w.client("bob", open_id="the same")
            assert a.id != b.id
            assert b.attached.created

    async def test_s2_blocks_come_before_a_known_open_id(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.engine.registry.restrict(BlockParticipant(app=APP, participant_id=a.participant_id))
            with refused(ErrorCode.PARTICIPANT_BLOCKED):
                await a.open()

    async def test_s2_an_anonymous_participant_is_gone_with_its_session(self) -> None:
        async with self.make_world() as w:
            a = await w.client(None, name="Guest")
            assert a.attached.participant.external_id is None
            assert (await a.record()).name == "Guest"
            again = await a.open()
            assert again.session.id == a.id
            await a.close()
            assert await a.record() == ParticipantRecord(app=APP, id=a.participant_id)

    async def test_s4_name_and_avatar_at_open_count_and_none_leaves(self) -> None:
        async with self.make_world() as w:
            await w.open(name="Alice", avatar_url="/a.png")
            second = (await w.open(name="Alicia")).participant
            assert (second.name, second.avatar_url, second.revision) == ("Alicia", "/a.png", 2)
            third = (await w.open(avatar_url="")).participant
            assert (third.name, third.avatar_url, third.revision) == ("Alicia", "", 3)
            same = (await w.open(name="Alicia", avatar_url="")).participant
            assert same.revision == 3
            await w.advance(UPDATE_EVENT_PERIOD + 1)
            assert (await w.types()).count("participant.updated") == 2

    async def test_s4_without_leave_a_difference_to_the_record_is_refused(self) -> None:
        async with self.make_world() as w:
            first = await w.client(name="Alice", may_change_profile=False)
            assert first.attached.participant.name == "Alice"  # there was no record to differ from
            with refused(ErrorCode.SCOPE_MISSING):
                await w.open(name="Mallory", may_change_profile=False)
            assert (await first.record()).sessions == 1
            same = await w.open(name="Alice", may_change_profile=False)
            assert same.created

    async def test_s4_if_new_counts_only_where_no_record_exists(self) -> None:
        async with self.make_world() as w:
            assert (await w.open(name="Old", if_new=True)).participant.name == "Old"
            await w.open(name="New")
            back = (await w.open(name="Old", if_new=True, may_change_profile=False)).participant
            assert (back.name, back.revision) == ("New", 2)

    async def test_s7_only_a_node_with_a_good_lease_opens(self) -> None:
        async with self.make_world() as w:
            with refused(ErrorCode.FENCED):
                await w.open(node="node-9", lease="unknown")
            assert await w.types() == []

    async def test_two_applications_never_meet(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Mine")
            b = await w.client(app="app-2", name="Theirs")
            assert (await a.record()).name == "Mine"
            assert (await b.record()).name == "Theirs"
            assert (await a.record()).sessions == (await b.record()).sessions == 1
            assert {event.app for event in await w.events("app-2")} == {"app-2"}
            await b.close()
            assert (await a.record()).presence is Presence.ONLINE
