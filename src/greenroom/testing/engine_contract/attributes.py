"""Attributes of a participant, and the status of a session."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.core.profile import MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES
from greenroom.core.requests import ParticipantQuery, UpdateRequest
from greenroom.engines.base import EraseParticipant
from greenroom.errors import RevisionConflictError
from greenroom.model import ParticipantRecord, Presence, SessionPolicy
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP, Client, owner_of

ODD = {
    "__proto__": "polluted",
    "1": 'a "quoted" \\ text',
    "é\u0301/x": "line\nend\ttab\r",
    "emoji": "👩‍👩‍👧",
    "empty": "",
    "'": "{}",
}
"""Names and values that a sloppy codec changes."""


class AttributesContract(ContractBase):
    """Attributes are part of the profile: merged, numbered, bounded, and gone with the participant."""

    async def test_attributes_are_merged_and_none_removes(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await w.engine.bus.watch(APP, [a.participant_id])
            before = a.attached.participant
            assert before.attributes is None
            first = await a.update(attributes={"role": "nurse", "team": "blue"})
            assert (first.attributes, first.name) == ({"role": "nurse", "team": "blue"}, "Alice")
            assert first.revision == before.revision + 1
            assert first.version > before.version
            second = await a.update(attributes={"role": None, "team": "red", "colour": "#fff"})
            assert second.attributes == {"team": "red", "colour": "#fff"}
            await w.wait_for_delivery()
            assert w.listener.records(a.participant_id) == [first, second]
            assert await a.record() == second
            cleared = await a.update(attributes={"team": None, "colour": None, "unknown": None}, name="B")
            assert (cleared.attributes, cleared.name, cleared.revision) == (None, "B", second.revision + 1)
            assert await a.record() == cleared

    async def test_attributes_that_are_there_already_are_a_success_without_a_new_revision(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice", attributes={"role": "nurse"})
            before = await w.events()
            for changes in ({"role": "nurse"}, {"unknown": None}, {}):
                assert await a.update(attributes=changes) == a.attached.participant
            assert await w.events() == before

    async def test_attributes_are_as_they_were_given(self) -> None:
        async with self.make_world() as w:
            a = await w.client(attributes=dict(ODD))
            assert a.attached.participant.attributes == ODD
            assert (await a.record()).attributes == ODD
            kept = await a.update(attributes={"more": "x"})
            assert kept.attributes == {**ODD, "more": "x"}
            assert (await w.events())[1].data["attributes"] == ODD, "participant.online has them"

    async def test_if_revision_counts_for_attributes_too(self) -> None:
        async with self.make_world() as w:
            a = await w.client(attributes={"role": "nurse"})
            await a.update(attributes={"role": "surgeon"}, if_revision=1)
            with refused(ErrorCode.REVISION_CONFLICT) as refusal:
                await a.update(attributes={"role": "late"}, if_revision=1)
            error = refusal.error
            assert isinstance(error, RevisionConflictError)
            assert isinstance(error.participant, ParticipantRecord)
            assert error.participant.attributes == {"role": "surgeon"}
            assert (await a.record()).attributes == {"role": "surgeon"}

    async def test_what_would_be_too_many_attributes_changes_nothing(self) -> None:
        async with self.make_world() as w:
            full = {f"name-{number}": "x" for number in range(MAX_ATTRIBUTES)}
            a = await w.client(attributes=dict(full))
            present = a.attached.participant
            with refused(ErrorCode.ILLEGAL_ARGUMENT) as refusal:
                await a.update(attributes={"one more": "x"}, name="B")
            assert f"{MAX_ATTRIBUTES + 1} attributes" in str(refusal.error)
            with refused(ErrorCode.ILLEGAL_ARGUMENT):
                await w.open(attributes={"one more": "x"})
            assert await a.record() == present
            swapped = await a.update(attributes={"one more": "x", "name-0": None})
            assert len(swapped.attributes or {}) == MAX_ATTRIBUTES

    async def test_all_attributes_together_are_bounded_in_bytes(self) -> None:
        async with self.make_world() as w:
            # "é" has two bytes: four of these, with names of one byte, are four bytes below the limit
            quarter = "é" * ((MAX_ATTRIBUTES_BYTES // 4 - 2) // 2)
            a = await w.client(attributes=dict.fromkeys("abcd", quarter))
            present = a.attached.participant
            with refused(ErrorCode.ILLEGAL_ARGUMENT) as refusal:
                await a.update(attributes={"e": "1234"})
            assert f"{MAX_ATTRIBUTES_BYTES + 1:,} bytes" in str(refusal.error)
            assert await a.record() == present
            assert len((await a.update(attributes={"e": "123"})).attributes or {}) == 5

    async def test_s4_an_open_merges_attributes_as_it_may_change_the_profile(self) -> None:
        async with self.make_world() as w:
            a = await w.client(attributes={"role": "nurse"})
            merged = await w.open(attributes={"team": "blue"})
            assert merged.participant.attributes == {"role": "nurse", "team": "blue"}
            assert merged.participant.revision == a.attached.participant.revision + 1
            kept = await w.open(attributes={"role": "old"}, if_new=True)
            assert kept.participant.attributes == merged.participant.attributes
            with refused(ErrorCode.SCOPE_MISSING):
                await w.open(attributes={"role": "old"}, may_change_profile=False)
            same = await w.open(attributes={"role": "nurse", "none": None}, may_change_profile=False)
            assert same.participant.revision == merged.participant.revision
            fresh = await w.open(
                "bob", attributes={"role": "cook", "none": None}, if_new=True, may_change_profile=False
            )
            assert fresh.participant.attributes == {"role": "cook"}

    async def test_s14_a_repeated_update_of_attributes_gets_the_first_result(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            first = await a.update(attributes={"role": "nurse"}, update_id="u")
            await a.update(attributes={"role": "surgeon"}, update_id="v")
            assert await a.update(attributes={"role": "nurse"}, update_id="u") == first
            assert (await a.record()).attributes == {"role": "surgeon"}

    async def test_attributes_outlive_connections_and_sessions(self) -> None:
        async with self.make_world() as w:
            a = await w.client(attributes={"role": "nurse"})
            await a.detach()
            await w.advance(5)
            assert (await a.resume()).participant.attributes == {"role": "nurse"}
            await a.close()
            request = UpdateRequest(app=APP, participant_id=a.participant_id, attributes={"team": "blue"})
            changed = await w.engine.registry.update_participant(request)
            assert changed.attributes == {"role": "nurse", "team": "blue"}
            listed = (await w.engine.registry.participants(ParticipantQuery(app=APP))).items
            assert listed == (changed,)
            if w.restartable:
                await w.restart()
            assert (await w.open()).participant.attributes == changed.attributes

    async def test_one_event_reports_all_changes_of_attributes_in_five_seconds(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            for number in range(20):
                await a.update(attributes={"count": str(number)})
            await w.advance(6)
            published = [event.data for event in await w.events() if event.type == "participant.updated"]
            assert [data["attributes"]["count"] for data in published] == ["0", "19"]

    async def test_an_erase_leaves_no_attribute(self) -> None:
        async with self.make_world() as w:
            a = await w.client(attributes={"role": "secret-role"}, status="secret-status")
            await w.engine.bus.watch(APP, [a.participant_id])
            await a.update(attributes={"team": "secret-team"})
            await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
            await w.wait_for_delivery()
            assert (await a.record()) == ParticipantRecord(app=APP, id=a.participant_id)
            assert w.listener.records(a.participant_id)[-1].attributes is None
            assert "secret" not in str(await w.events())
            await w.advance(5)
            assert "secret" not in str(await w.events())
            assert await a.stored() is None


class StatusContract(ContractBase):
    """A session's status, and what of it the participant shows."""

    async def test_a_status_is_sent_to_watchers_and_is_no_part_of_the_profile(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await w.engine.bus.watch(APP, [a.participant_id])
            before = a.attached.participant
            assert (before.status, a.session.status) == (None, None)
            away = await _set(a, "away")
            assert (away.status, away.revision) == ("away", before.revision)
            assert away.version > before.version
            await w.wait_for_delivery()
            assert w.listener.records(a.participant_id) == [away]
            assert await a.record() == away
            stored = await a.stored()
            assert stored is not None
            assert stored.status == "away"
            event = (await w.events())[-1]
            assert (event.type, event.data["status"]) == ("participant.updated", "away")
            assert event.data["version"] == away.version
            back = await _set(a, "available")
            assert (back.status, (await a.record()).status) == (None, None)

    async def test_the_same_status_again_changes_nothing(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            assert await _set(a, "available") == a.attached.participant
            busy = await _set(a, "busy")
            before = await w.events()
            assert await _set(a, "busy") == busy
            assert await w.events() == before

    async def test_the_most_available_session_counts(self) -> None:
        async with self.make_world() as w:
            a, b, c = [await w.client() for _ in range(3)]
            await w.engine.bus.watch(APP, [a.participant_id])
            assert (await _set(a, "in surgery")).status is None, "two more are available"
            assert (await _set(b, "away")).status is None
            assert (await _set(c, "busy")).status == "in surgery"
            assert (await _set(a, "away")).status == "busy"
            assert (await _set(c, "away")).status == "away"
            assert (await _set(a, "at lunch")).status == "at lunch"
            assert (await _set(b, 'on "call" \\')).status == 'on "call" \\', "of two texts the later"
            assert (await _set(a, "at lunch still")).status == "at lunch still"
            await w.wait_for_delivery()
            published = [record.status for record in w.listener.records(a.participant_id)]
            assert published == ["in surgery", "busy", "away", "at lunch", 'on "call" \\', "at lunch still"]

    async def test_a_status_ends_with_its_session(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client(), await w.client()
            await _set(a, "away")
            await w.engine.bus.watch(APP, [a.participant_id])
            await b.close()
            record = await a.record()
            assert record.status == "away", "the one that is left"
            c = await w.client()
            assert (await a.record()).status is None
            await _set(c, "busy")
            await c.detach(5)
            assert (await a.record()).status == "busy", "it may come back"
            await w.advance(8)
            assert (await a.record()).status == "away"
            await a.close()
            gone = await a.record()
            assert (gone.status, gone.presence) == (None, Presence.OFFLINE)
            assert (await w.open()).participant.status is None
            await w.wait_for_delivery()
            published = [record.status for record in w.listener.records(a.participant_id)]
            assert [
                each for each, before in zip(published, [*published[:1], *published], strict=False) if each != before
            ] == [None, "busy", "away", None]

    async def test_a_status_outlives_its_connection(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await _set(a, "in surgery")
            await a.detach()
            await w.advance(3)
            unreachable = await a.record()
            assert (unreachable.status, unreachable.shown) == ("in surgery", Presence.UNREACHABLE)
            back = await a.resume()
            assert (back.session.status, back.participant.status) == ("in surgery", "in surgery")
            taken = await w.engine.registry.attach(a.take_back_request(a.owner, w.node, w.lease))
            assert taken.session.status == "in surgery"
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await _set(a, "away")
            assert (await a.record()).status == "in surgery"
            if w.restartable:
                await w.restart()
                assert (await a.record()).status == "in surgery"
                stored = await a.stored()
                assert stored is not None
                assert stored.status == "in surgery"

    async def test_an_open_may_bring_a_status(self) -> None:
        async with self.make_world() as w:
            a = await w.client(status="away")
            assert (a.session.status, a.attached.participant.status) == ("away", "away")
            online = (await w.events())[-1]
            assert (online.type, online.data["status"]) == ("participant.online", "away")
            again = await a.open()
            assert (again.session.status, again.participant.status) == ("away", "away")
            b = await w.client(status="available")
            assert (b.session.status, b.attached.participant.status) == (None, None)
            c = await w.client("bob", device_id="d", status="busy")
            d = await w.client("bob", device_id="d")
            assert (c.attached.participant.status, d.attached.participant.status) == ("busy", None)
            e = await w.client("bob", device_id="d", status="away", policy=SessionPolicy(max_sessions=1))
            assert e.attached.participant.status == "away", "that of the session that was replaced is gone"

    async def test_one_event_reports_all_statuses_of_five_seconds(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            for text in ("busy", "away", "one", "two", "away"):
                await _set(a, text)
            await w.advance(6)
            published = [event.data["status"] for event in await w.events() if event.type == "participant.updated"]
            assert published == ["busy", "away"]

    async def test_a_status_of_a_session_that_has_ended_is_refused(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client(), await w.client()
            await _set(a, "away")
            owner = owner_of(a.session)
            await a.close()
            with refused(ErrorCode.SESSION_ENDED):
                request = UpdateRequest(app=APP, participant_id=a.participant_id, owner=owner, status="busy")
                await w.engine.registry.update_participant(request)
            assert (await b.record()).status is None


async def _set(client: Client, status: str) -> ParticipantRecord:
    return await client.update(status=status, update_id=None)
