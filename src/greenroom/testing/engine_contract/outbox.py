"""Events: S17, and one atomic step with the change."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.engines.base import UPDATE_EVENT_PERIOD, EventLimits, LiftBlock
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP, World


async def _updates(w: World) -> list[str]:
    """The names in `participant.updated` events."""
    return [event.data["name"] for event in await w.events() if event.type == "participant.updated"]


class OutboxContract(ContractBase):
    """Read, acknowledge, replay, set aside."""

    async def test_events_are_read_in_order_and_in_pages(self) -> None:
        async with self.make_world() as w:
            for number in range(6):
                await (await w.client(f"user-{number}")).close()
            everything = await w.events()
            assert len(everything) == 24
            assert len({event.id for event in everything}) == 24
            read = []
            cursor = None
            while True:
                page = await w.engine.outbox.read(APP, cursor, 5)
                assert len(page.items) <= 5
                assert (page.gap, page.reset) == (0, False)
                cursor = page.cursor
                if not page.items:
                    break
                read += list(page.items)
            assert read == everything

    async def test_the_latest_events_are_read_without_the_others(self) -> None:
        async with self.make_world() as w:
            outbox = w.engine.outbox
            assert (await outbox.latest(APP)).items == ()
            for number in range(40):
                await w.client(f"user-{number}")
                await w.advance(1)
            everything = await w.events()
            for limit in (1, 5, 17, 1000):
                page = await outbox.latest(APP, limit)
                assert 1 <= len(page.items) <= limit
                assert list(page.items) == everything[-len(page.items) :]
            page = await outbox.latest(APP, 1000)
            assert len(page.items) == 80
            assert (await outbox.read(APP, page.cursor)).items == ()
            assert page.cursor == await outbox.newest(APP)
            late = await w.client("late")
            after = (await outbox.read(APP, page.cursor)).items
            assert {event.participant_id for event in after} == {late.participant_id}

    async def test_events_of_one_participant_are_totally_ordered(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            for _ in range(3):
                await a.update(name=f"name {w.number()}")
                await w.client("bob")
                await w.advance(UPDATE_EVENT_PERIOD + 1)
            await a.close()
            own = [event for event in await w.events() if event.participant_id == a.participant_id]
            assert own[0].type == "session.opened"
            assert [event.type for event in own[-2:]] == ["session.ended", "participant.offline"]
            revisions = [event.data["revision"] for event in own if event.type == "participant.updated"]
            assert revisions == [1, 2, 3]
            instants = [event.at for event in own]
            assert instants == sorted(instants)

    async def test_many_changes_of_a_profile_are_few_events_and_the_last_one_has_the_latest(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("alice")
            for number in range(40):
                await (a, b)[number % 2].update(name=f"name {number}", avatar_url="/" + "x" * 2000)
            names = await _updates(w)
            assert names == ["name 0"]
            await w.advance(UPDATE_EVENT_PERIOD + 1)
            assert await _updates(w) == ["name 0", "name 39"]
            await w.advance(UPDATE_EVENT_PERIOD + 1)
            await a.update(name="later")
            assert await _updates(w) == ["name 0", "name 39", "later"], "published at once where none was lately"
            await w.advance(30)
            assert len(await _updates(w)) == 3

    async def test_a_deferred_change_is_published_before_the_participant_is_offline(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            await a.update(name="one")
            await a.update(name="two")
            await a.close()
            assert (await w.types())[-3:] == ["session.ended", "participant.updated", "participant.offline"]
            assert await _updates(w) == ["one", "two"]
            await w.advance(UPDATE_EVENT_PERIOD + 1)
            assert len(await _updates(w)) == 2

    async def test_s17_a_full_stream_drops_updates_before_all_else_and_ends_last(self) -> None:
        world = self.make_world()
        world.event_limits = EventLimits(count=60)
        async with world as w:
            await (await w.client("bob")).close()
            before = (await w.engine.outbox.read(APP, None, 1)).cursor
            chatty = [await w.client(f"chatty-{number}") for number in range(4)]
            for number in range(20):
                for client in chatty:
                    await client.update(name=f"name {number}")
                await w.advance(UPDATE_EVENT_PERIOD + 1)
            await w.advance(31)
            types = await w.types()
            assert len(types) <= 60
            assert types.count("session.ended") == 1
            assert types.count("session.opened") == 5
            page = await w.engine.outbox.read(APP, before, 1000)
            assert page.gap + len(page.items) == 4 + 8 + 80 - 1, "what went from among the others is counted"
            assert (await w.engine.outbox.read(APP, page.cursor)).gap == 0
            for number in range(30):
                await (await w.client(f"user-{number}")).close()
            await w.advance(31)
            types = await w.types()
            assert len(types) <= 60
            assert types.count("session.ended") == 31, "an end goes when nothing else is left"
            assert "participant.updated" not in types

    async def test_s17_with_nothing_but_ends_the_oldest_go(self) -> None:
        world = self.make_world()
        world.event_limits = EventLimits(count=20)
        async with world as w:
            ended = []
            for _ in range(40):
                client = await w.client("alice")
                await client.close()
                ended.append(client.id)
                await w.step(1)
            await w.advance(31)
            kept = [event.session_id for event in await w.events() if event.type == "session.ended"]
            assert 10 <= len(kept) <= 20
            assert ended[-1] in kept
            assert ended[0] not in kept

    async def test_a_cursor_at_the_end_stays_good(self) -> None:
        async with self.make_world() as w:
            start = await w.engine.outbox.newest(APP)
            await w.open("alice")
            assert len((await w.engine.outbox.read(APP, start)).items) == 2
            end = await w.engine.outbox.newest(APP)
            empty = await w.engine.outbox.read(APP, end)
            assert empty.items == ()
            await w.open("bob")
            assert [event.type for event in (await w.engine.outbox.read(APP, empty.cursor)).items] == [
                "session.opened",
                "participant.online",
            ]

    async def test_a_refused_call_notifies_nobody(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            before = await w.events()
            with refused(ErrorCode.REVISION_CONFLICT):
                await a.update(name="Late", if_revision=77)
            with refused(ErrorCode.NOT_FOUND):
                await w.engine.registry.restrict(LiftBlock(app=APP, participant_id=a.participant_id))
            assert await w.events() == before

    async def test_s17_a_reader_acknowledges_and_events_are_still_kept(self) -> None:
        async with self.make_world() as w:
            await w.open("alice")
            assert await w.engine.outbox.acknowledged(APP, "webhook-1") is None
            page = await w.engine.outbox.read(APP, None)
            await w.engine.outbox.acknowledge(APP, "webhook-1", page.cursor)
            assert await w.engine.outbox.acknowledged(APP, "webhook-1") == page.cursor
            assert await w.engine.outbox.acknowledged(APP, "webhook-2") is None
            assert await w.engine.outbox.acknowledged("app-2", "webhook-1") is None
            assert (await w.engine.outbox.read(APP, None)).items == page.items

    async def test_foreign_event_cursors_are_refused(self) -> None:
        async with self.make_world() as w:
            for cursor in ("", "!", "AAAA", "ä", "\ud800", "a" * 5000):
                with refused(ErrorCode.ILLEGAL_ARGUMENT):
                    await w.engine.outbox.read(APP, cursor)
                with refused(ErrorCode.ILLEGAL_ARGUMENT):
                    await w.engine.outbox.acknowledge(APP, "r", cursor)

    async def test_events_are_replayed_by_time(self) -> None:
        async with self.make_world() as w:
            marks = []
            for number in range(5):
                marks.append(w.now_ms())
                await w.open(f"user-{number}")
                await w.advance(10)
            page = await w.engine.outbox.replay(APP, marks[1] - 1000, marks[3] - 1000)
            assert {event.data["externalId"] for event in page.items} == {"user-1", "user-2"}
            assert len(page.items) == 4
            assert len((await w.engine.outbox.replay(APP, 0, marks[4] + 60_000, 3)).items) == 3
            assert (await w.engine.outbox.replay(APP, marks[4] + 60_000, marks[4] + 90_000)).items == ()

    async def test_s17_events_older_than_72_hours_go_and_the_reader_gets_the_gap(self) -> None:
        async with self.make_world() as w:
            await w.open("alice")
            page = await w.engine.outbox.read(APP, None, 1)
            await w.step(73 * 3600)
            await w.advance(40)
            await w.open("bob")
            after = await w.engine.outbox.read(APP, page.cursor)
            assert after.gap == 1
            assert {event.data["externalId"] for event in after.items} == {"bob"}
            again = await w.engine.outbox.read(APP, after.cursor)
            assert (again.gap, again.items) == (0, ())
            fresh = await w.engine.outbox.read(APP, None)
            assert fresh.items == after.items

    async def test_readers_are_called_when_there_is_something_to_read(self) -> None:
        async with self.make_world() as w:
            await w.open("alice")
            await w.wait_for_delivery()
            assert APP in w.ready
            assert "app-2" not in w.ready

    async def test_dead_letters_are_set_aside_for_their_reader(self) -> None:
        async with self.make_world() as w:
            await w.open("alice")
            events = await w.events()
            await w.engine.outbox.set_aside(APP, "r", events, "410")
            await w.engine.outbox.set_aside(APP, "r", events[:1], "again")  # a repeat of the same letter is one
            letters = await w.engine.outbox.aside(APP, "r")
            assert [event for event, _ in letters] == events
            assert letters[1][1] == "410"
            assert await w.engine.outbox.aside(APP, "other") == ()
            assert await w.engine.outbox.drop_aside(APP, "r", [events[0].id, "unknown"]) == 1
            assert [event for event, _ in await w.engine.outbox.aside(APP, "r")] == events[1:]

    async def test_one_node_at_a_time_reads_for_a_reader(self) -> None:
        async with self.make_world() as w:
            claim = w.engine.outbox.claim
            assert await claim(APP, "r", "node-1", 10)
            assert await claim(APP, "r", "node-1", 10)
            assert not await claim(APP, "r", "node-2", 10)
            assert await claim(APP, "other", "node-2", 10)
            await w.step(11)
            assert await claim(APP, "r", "node-2", 10)
            assert not await claim(APP, "r", "node-1", 10)
            assert await claim(APP, "r", "node-2", 0)
            assert await claim(APP, "r", "node-1", 10), "a claim that was handed over still holds"
