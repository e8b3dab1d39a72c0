"""Records, numbers and lists: S11, S12, S14, promise 5."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.core.requests import ParticipantQuery, UpdateRequest
from greenroom.engines.base import UPDATE_MEMORY, EraseParticipant, SessionQuery
from greenroom.engines.paging import all_participants, all_sessions
from greenroom.errors import RevisionConflictError
from greenroom.model import EndReason, ParticipantRecord, Presence, RegistryState
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP


class RecordsContract(ContractBase):
    """Two numbers, repeatable updates, lists of the whole cluster."""

    async def test_s11_a_profile_change_raises_both_numbers_by_their_rules(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await w.engine.bus.watch(APP, [a.participant_id])
            before = a.attached.participant
            after = await a.update(name="Alicia", avatar_url="/b.png")
            await w.wait_for_delivery()
            assert (after.name, after.avatar_url) == ("Alicia", "/b.png")
            assert after.revision == before.revision + 1
            assert after.version > before.version
            assert w.listener.records(a.participant_id) == [after]
            assert (await a.record()) == after
            event = (await w.events())[-1]
            assert (event.type, event.data["name"], event.data["revision"]) == ("participant.updated", "Alicia", 2)
            assert (event.data["version"], event.data["externalId"]) == (after.version, "alice")

    async def test_s11_none_leaves_and_empty_clears(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice", avatar_url="/a.png")
            assert (await a.update(name="")).avatar_url == "/a.png"
            cleared = await a.update(avatar_url="")
            assert (cleared.name, cleared.avatar_url, cleared.revision) == ("", "", 3)

    async def test_setting_what_is_there_is_a_success_without_a_new_revision(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            before = await w.events()
            same = await a.update(name="Alice")
            assert same == a.attached.participant
            assert await a.update() == same
            assert await w.events() == before

    async def test_s11_if_revision_compares(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await a.update(name="Alicia", if_revision=1)
            with refused(ErrorCode.REVISION_CONFLICT) as refusal:
                await a.update(name="Late", if_revision=1)
            error = refusal.error
            assert isinstance(error, RevisionConflictError)
            assert isinstance(error.participant, ParticipantRecord)
            assert (error.participant.name, error.participant.revision) == ("Alicia", 2)
            assert (await a.record()).name == "Alicia"

    async def test_s11_versions_rise_with_everything_a_watcher_sees(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await w.engine.bus.watch(APP, [a.participant_id])
            b = await w.client(name="B")
            await a.update(name="C")
            await a.close()
            await b.detach(5)
            await w.advance(3)
            await b.resume()
            await b.close()
            await w.open()
            await w.wait_for_delivery()
            versions = [record.version for record in w.listener.records(a.participant_id)]
            assert versions == sorted(set(versions))
            assert len(versions) == 7
            assert versions[0] >= w.now_ms() * 1000 - 60_000_000

    async def test_s14_a_repeated_update_gets_the_first_result(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            first = await a.update(name="Alicia", update_id="u")
            await a.update(name="Ada", update_id="v")
            before = await w.events()
            assert await a.update(name="Alicia", update_id="u") == first
            assert await a.update(name="Alicia", update_id="u", if_revision=77) == first
            assert (await a.record()).name == "Ada"
            assert await w.events() == before

    async def test_s14_updates_are_remembered_through_a_resume(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            first = await a.update(name="Alice", update_id="u")
            await a.detach()
            await a.resume()
            assert await a.update(name="Alice", update_id="u") == first

    async def test_s14_the_last_sixteen_are_remembered(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            for number in range(UPDATE_MEMORY):
                await a.update(name=f"name {number}", update_id=str(number))
            assert (await a.update(name="name 0", update_id="0")).revision == 1
            await a.update(name="one more", update_id="one more")
            assert (await a.update(name="name 0", update_id="0")).revision == UPDATE_MEMORY + 2

    async def test_the_server_api_changes_a_profile_without_a_session(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await a.close()
            request = UpdateRequest(app=APP, participant_id=a.participant_id, name="Alicia", if_revision=1)
            after = await w.engine.registry.update_participant(request)
            assert (after.name, after.revision, after.presence) == ("Alicia", 2, Presence.OFFLINE)
            with refused(ErrorCode.REVISION_CONFLICT):
                await w.engine.registry.update_participant(request)
            with refused(ErrorCode.NOT_FOUND):
                unknown = UpdateRequest(app="app-2", participant_id=a.participant_id, name="x")
                await w.engine.registry.update_participant(unknown)

    async def test_s12_unknown_ids_read_as_offline_at_version_zero_in_their_place(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            query = ParticipantQuery(app=APP, ids=["unknown", a.participant_id, "unknown"])
            page = await w.engine.registry.participants(query)
            nobody = ParticipantRecord(app=APP, id="unknown")
            assert page.items == (nobody, a.attached.participant, nobody)

    async def test_participants_are_listed_by_id_in_pages(self) -> None:
        async with self.make_world() as w:
            clients = [await w.client(f"user-{number}") for number in range(7)]
            await clients[0].close()
            ids: list[str] = []
            cursor = None
            while True:
                query = ParticipantQuery(app=APP, cursor=cursor, limit=3)
                page = await w.engine.registry.participants(query)
                assert len(page.items) <= 3
                ids += [record.id for record in page.items]
                cursor = page.cursor
                if cursor is None:
                    break
            assert ids == sorted(client.participant_id for client in clients)
            online = ParticipantQuery(app=APP, presence=(Presence.ONLINE,))
            assert len((await w.engine.registry.participants(online)).items) == 6
            offline = ParticipantQuery(app=APP, presence=(Presence.OFFLINE, Presence.UNREACHABLE))
            (gone,) = (await w.engine.registry.participants(offline)).items
            assert gone.id == clients[0].participant_id

    async def test_participants_are_searched_by_name_external_id_and_id(self) -> None:
        async with self.make_world() as w:
            names = ("Jörg Straße", "ÖZGÜR Ak", "Ana", "Joanna", "")
            clients = [await w.client(f"user-{number}", name=name) for number, name in enumerate(names)]
            await w.client("user-1", app="app-2", name="Özgür elsewhere")
            await clients[2].close()

            async def found(search: str, *presence: Presence, limit: int = 100) -> list[str]:
                query = ParticipantQuery(app=APP, search=search, presence=presence, limit=limit)
                found = [one async for one in all_participants(w.engine.registry, query)]
                assert [one.id for one in found] == sorted(one.id for one in found)
                return sorted(one.name for one in found)

            assert await found("özgür") == ["ÖZGÜR Ak"]
            assert await found("o\u0308zgu\u0308r") == ["ÖZGÜR Ak"], "composed or not"
            assert await found("STRASSE") == ["Jörg Straße"]
            assert await found("ana", Presence.ONLINE) == []
            assert await found("AN") == ["Ana", "Joanna"]
            assert await found("an", limit=1) == ["Ana", "Joanna"]
            assert await found("an", Presence.OFFLINE) == ["Ana"]
            assert await found("uSeR-4") == [""]
            assert await found("user-") == sorted(names)
            assert await found(clients[3].participant_id[4:20]) == ["Joanna"]
            assert await found("%") == await found("nobody") == []

    async def test_a_brief_list_says_who_owns_what(self) -> None:
        async with self.make_world() as w:
            clients = [await w.client(f"user-{number}") for number in range(5)]
            await clients[0].resume()
            await clients[1].detach()
            await clients[2].close()
            query = SessionQuery(node=w.node, brief=True, limit=2)
            listed = {one.id: one async for one in all_sessions(w.engine.registry, query)}
            assert set(listed) == {client.id for client in clients if client is not clients[2]}
            assert listed[clients[0].id].generation == 2
            assert listed[clients[1].id].state is RegistryState.DETACHED
            stored = await clients[3].stored()
            assert stored is not None
            brief = listed[stored.id]
            for name in ("id", "app", "participant_id", "generation", "state", "node", "lease"):
                assert getattr(brief, name) == getattr(stored, name)
            elsewhere = SessionQuery(node="node-2", brief=True)
            assert [one async for one in all_sessions(w.engine.registry, elsewhere)] == []

    async def test_foreign_cursors_are_refused(self) -> None:
        async with self.make_world() as w:
            for cursor in ("!", "ä", "\ud800", "a" * 5000):
                with refused(ErrorCode.ILLEGAL_ARGUMENT):
                    await w.engine.registry.sessions(SessionQuery(app=APP, ended=True, cursor=cursor))
                with refused(ErrorCode.ILLEGAL_ARGUMENT):
                    await w.engine.registry.participants(ParticipantQuery(app=APP, cursor=cursor))
                with refused(ErrorCode.ILLEGAL_ARGUMENT):
                    await w.engine.registry.sessions(SessionQuery(app=APP, cursor=cursor))

    async def test_sessions_are_listed_in_pages_until_they_end(self) -> None:
        async with self.make_world() as w:
            clients = [await w.client(f"user-{number}") for number in range(7)]
            await clients[0].close()
            ids: list[str] = []
            cursor = None
            while True:
                page = await w.engine.registry.sessions(SessionQuery(app=APP, cursor=cursor, limit=3))
                assert len(page.items) <= 3
                ids += [session.id for session in page.items]
                cursor = page.cursor
                if cursor is None:
                    break
            assert sorted(ids) == sorted(client.id for client in clients[1:])

    async def test_sessions_are_found_by_participant_node_and_id(self) -> None:
        async with self.make_world() as w:
            await w.join("node-2", "lease-2")
            a1 = await w.client("alice")
            a2 = await w.client("alice", node="node-2", lease="lease-2")
            b = await w.client("bob")
            other = await w.client("alice", app="app-2")

            async def found(**terms: str) -> set[str]:
                page = await w.engine.registry.sessions(SessionQuery(**terms))  # type: ignore[arg-type]
                return {session.id for session in page.items}

            assert await found(participant_id=a1.participant_id, app=APP) == {a1.id, a2.id}
            assert await found(node="node-2") == {a2.id}
            assert await found(app=APP, node=w.node) == {a1.id, b.id}
            assert await found() == {a1.id, a2.id, b.id, other.id}
            assert await found(session_id=b.id) == {b.id}
            assert await found(session_id=b.id, app="app-2") == set()
            assert await found(session_id="nonsense") == set()

    async def test_ended_sessions_are_listed_in_pages_with_when_and_why(self) -> None:
        async with self.make_world() as w:
            clients = [await w.client(f"user-{number}") for number in range(5)]
            anonymous = await w.client(None)
            other = await w.client("user-0", app="app-2")
            for client in (*clients[1:], anonymous, other):
                await client.close(EndReason.KICKED)
            expected = {client.id for client in (*clients[1:], anonymous)}
            for limit in (1, 2, 1000):
                query = SessionQuery(app=APP, ended=True, limit=limit)
                found = [one async for one in all_sessions(w.engine.registry, query)]
                assert len(found) == 5
                assert {one.id for one in found} == expected
            async for one in all_sessions(w.engine.registry, SessionQuery(app=APP, ended=True)):
                assert (one.state, one.end_reason, one.app) == (RegistryState.CLOSED, EndReason.KICKED, APP)
                assert abs((one.ended_at or 0) - w.now_ms()) < 60_000

    async def test_ended_sessions_are_found_by_participant_and_node(self) -> None:
        async with self.make_world() as w:
            await w.join("node-2", "lease-2")
            alice = [await w.client("alice") for _ in range(3)]
            elsewhere = await w.client("alice", node="node-2", lease="lease-2")
            anonymous = await w.client(None)
            for client in (*alice[:2], elsewhere, anonymous, await w.client("bob")):
                await client.close()

            async def found(**terms: str) -> set[str]:
                query = SessionQuery(app=APP, ended=True, limit=1, **terms)  # type: ignore[arg-type]
                listed = [one.id async for one in all_sessions(w.engine.registry, query)]
                assert len(listed) == len(set(listed))
                return set(listed)

            ended = {alice[0].id, alice[1].id, elsewhere.id}
            assert await found(participant_id=alice[0].participant_id) == ended
            assert await found(participant_id=alice[0].participant_id, node="node-2") == {elsewhere.id}
            # Forgotten with its last session; the session can still be looked at.
            assert await found(participant_id=anonymous.participant_id) == {anonymous.id}
            await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=alice[0].participant_id))
            assert await found(participant_id=alice[0].participant_id) == set()
            assert not ended & await found()

    async def test_a_record_of_someone_offline_is_kept_and_then_forgotten(self) -> None:
        async with self.make_world() as w:
            settings = w.application_settings(keep_offline_participants=300.0)
            await w.engine.directory.save_application(w.application(settings=settings))
            a = await w.client(name="Alice")
            await a.close()
            await w.advance(290)
            assert (await a.record()).name == "Alice"
            done = await w.advance(14)
            assert done.forgotten == 1
            assert (await a.record()).version == 0
