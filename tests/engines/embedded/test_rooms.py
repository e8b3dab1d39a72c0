"""Rooms of the embedded engine: what they cost, what is over, and what a broken call or a damaged file leaves."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.rooms.requests import EndRoom, InviteRequest, KickMember, RoomLimits, RoomQuery, SendMessage
from greenroom.engines.base import EraseParticipant
from greenroom.engines.embedded import transaction
from greenroom.engines.embedded.room_messages import send_message
from greenroom.engines.embedded.room_steps import create_room, join_room, kick_member, leave_room, settle
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.rooms import ENDED_OF_PASS, REPAIR_PERIOD
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.engine_contract import Client, EmbeddedWorld, refused
from greenroom.testing.engine_world import APP
from tests.support.row_cache import watch_rows

ROOM = "standup"
TABLES = ("rooms", "members", "removals", "kept_out", "invitations")
ABOUT_ROOMS = re.compile(rf"\b(FROM|INTO|UPDATE|JOIN) ({'|'.join(TABLES)})\b|SET rooms\b")


@pytest.fixture
def rows_in_memory_are_those_of_the_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After every commit."""
    stale = watch_rows(monkeypatch)
    yield
    assert stale == []


def connection_of(w: EmbeddedWorld) -> apsw.Connection:
    connection: apsw.Connection = w.engine._connection  # type: ignore[attr-defined]
    return connection


def rows_of(w: EmbeddedWorld, table: str) -> int:
    count: int = connection_of(w).execute(f"SELECT count(*) FROM {table}").get
    return count


async def _live(w: EmbeddedWorld) -> Client:
    """All that a session does, in no room."""
    a = await w.client("alice", name="Alice", status="busy")
    await a.open()
    await a.update(name="Alicia", attributes={"role": "nurse"})
    await a.update(status="away", update_id=None)
    await w.engine.registry.refresh(a.owner, w.token())
    await a.detach(40)
    await w.engine.registry.reap()
    await a.resume()
    await (await w.client("alice")).close()
    await a.close()
    return a


async def test_sessions_in_no_room_cost_no_statement_more() -> None:
    async with EmbeddedWorld() as w:
        b = await w.client("bob")
        await b.join(ROOM)
        await w.engine.rooms.invite(_invitation(w, b.participant_id))
        statements: list[str] = []
        connection_of(w).trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: statements.append(event["sql"]))
        await _live(w)
        plain, statements[:] = list(statements), []
        await b.update(name="Bob")
        await b.detach()
        connection_of(w).trace_v2(0, None)
        assert [sql for sql in plain if ABOUT_ROOMS.search(sql)] == []
        assert len(plain) > 40
        assert [sql for sql in statements if ABOUT_ROOMS.search(sql)], "the pattern finds statements about rooms"


async def _statements(w: EmbeddedWorld, work: Awaitable[Any]) -> list[str]:
    """What the file is asked for meanwhile, without what begins and ends a transaction."""
    statements: list[str] = []
    connection_of(w).trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: statements.append(event["sql"]))
    await work
    connection_of(w).trace_v2(0, None)
    assert (statements[0], statements[-1]) == ("BEGIN IMMEDIATE", "COMMIT")
    return [re.sub(r" (SET|WHERE|\(|VALUES).*", "", sql) for sql in statements[1:-1]]


JOIN = [
    "UPDATE sessions",
    "INSERT INTO members",
    "UPDATE participants",
    "SELECT record FROM members",
    "UPDATE rooms",
    "INSERT INTO events",
]
LEAVE = [
    "UPDATE sessions",
    "DELETE FROM members",
    "INSERT OR REPLACE INTO removals",
    "UPDATE participants",
    "UPDATE rooms",
    "INSERT INTO events",
]


async def test_a_join_and_a_leave_are_few_statements_in_however_many_rooms_the_session_is() -> None:
    async with EmbeddedWorld() as w:
        a, b = await w.client(), await w.client("bob")
        for number in range(4):
            await b.join(f"{ROOM} {number}")
            assert await _statements(w, a.join(f"{ROOM} {number}")) == JOIN
        for number in range(4):
            assert await _statements(w, a.leave(f"{ROOM} {number}")) == LEAVE


async def test_a_join_of_a_node_that_has_the_roster_reads_nobody() -> None:
    async with EmbeddedWorld() as w:
        a, b = await w.client(), await w.client("bob")
        whole = await b.join(ROOM)
        joining = [sql for sql in JOIN if not sql.startswith("SELECT")]
        assert await _statements(w, a.join(ROOM, brief=True)) == joining
        again = await a.join(ROOM, brief=True)
        assert again == msgspec.structs.replace(await w.roster(ROOM), members=())
        assert (again.count, again.version > whole.version) == (2, True)


async def test_a_room_that_is_opened_by_a_join_is_written_once() -> None:
    async with EmbeddedWorld() as w:
        a = await w.client()
        opening = [sql if sql != "UPDATE rooms" else "INSERT INTO rooms" for sql in JOIN]
        assert await _statements(w, a.join(ROOM)) == [*opening, "INSERT INTO events"]
        assert await _statements(w, a.leave(ROOM)) == [*LEAVE, "INSERT INTO events"]


async def test_the_count_of_a_room_changes_in_no_index() -> None:
    """A row of an index costs as much as one of the table."""
    async with EmbeddedWorld() as w:
        a, b = await w.client(), await w.client("bob")
        await b.join(ROOM)
        written: list[str] = []
        con = connection_of(w)
        con.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: written.append(event["sql"]))
        await a.join(ROOM)
        con.trace_v2(0, None)
        updates = [sql for sql in written if sql.startswith("UPDATE")]
        indexed = {name for (name,) in con.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
        assert {"rooms_by_id", "rooms_due", "sessions_of", "sessions_due"} <= indexed
        for sql in updates:
            opened = con.execute(f"EXPLAIN {sql}", (None,) * sql.count("?")).fetchall()
            assert [row[1] for row in opened].count("OpenWrite") == 1, sql


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_joins_of_one_batch_are_answered_with_the_roster_of_their_turn() -> None:
    async with EmbeddedWorld() as w:
        clients = [await w.client(f"user-{number}") for number in range(5)]
        batcher: Any = w.engine._batcher  # type: ignore[attr-defined]
        rosters, _ = batcher.run([partial(join_room, request=each.join_request(ROOM)) for each in clients])
        assert [roster.count for roster in rosters] == [1, 2, 3, 4, 5]
        assert [len(roster.members) for roster in rosters] == [1, 2, 3, 4, 5]
        versions = [roster.version for roster in rosters]
        assert versions == sorted(set(versions))
        assert len({roster.record.id for roster in rosters}) == 1
        assert await w.roster(ROOM) == rosters[-1]
        (again,), _ = batcher.run([partial(join_room, request=clients[0].join_request(ROOM))])
        assert again == rosters[-1], "it is there already"


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_what_one_batch_opens_changes_and_ends_is_what_the_file_says() -> None:
    async with EmbeddedWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        batcher: Any = w.engine._batcher  # type: ignore[attr-defined]
        create = w.room_request("another", ttl=20.0)
        results, _ = batcher.run(
            [
                partial(join_room, request=a.join_request(ROOM)),
                partial(create_room, request=create),
                partial(settle, limit=500),
                partial(join_room, request=b.join_request(ROOM)),
                partial(join_room, request=b.join_request("another")),
                partial(join_room, request=b.join_request("third")),
                partial(leave_room, request=a.leave_request(ROOM)),
                partial(leave_room, request=b.leave_request("another")),
                partial(leave_room, request=b.leave_request("third")),
            ]
        )
        assert [each for each in results if isinstance(each, Exception)] == []
        found = await w.engine.rooms.rooms(RoomQuery(app=APP))
        assert {room.name: room.count for room in found.items} == {ROOM: 1, "another": 0}
        assert rows_of(w, "rooms") == 3, "one has ended"
        await w.advance(700)
        assert [room.name for room in (await w.engine.rooms.rooms(RoomQuery(app=APP))).items] == [ROOM]
        assert rows_of(w, "rooms") == 1


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_r1_leaving_one_room_changes_nothing_of_the_others() -> None:
    async with EmbeddedWorld() as w:
        a, second = await w.client("alice"), await w.client("alice")
        for room in ("one", "two", "three"):
            await a.join(room)
        await second.join("two")
        await second.join("four")
        await a.leave("two")
        assert [member.sessions for member in (await w.members("two")).values()] == [1]
        await a.leave("one")
        await second.leave("two")
        listed = await w.engine.rooms.rooms(RoomQuery(app=APP, participant_id=a.participant_id))
        assert [room.name for room in listed.items] == ["four", "three"]
        await second.close()
        await a.close()
        assert (await w.engine.rooms.rooms(RoomQuery(app=APP))).items == ()


async def test_r5_of_a_counted_room_nobody_who_left_is_kept() -> None:
    async with EmbeddedWorld() as w:
        await w.engine.rooms.create(w.room_request(ROOM, detailed=False))
        a, b = await w.client("alice"), await w.client("bob")
        known = await a.join(ROOM)
        await b.join(ROOM)
        await b.leave(ROOM)
        assert rows_of(w, "removals") == 0
        differs = await w.roster(ROOM, since=known.version)
        assert (differs.since, differs.count, differs.left) == (known.version, 1, ())


async def test_a_settled_service_without_rooms_writes_nothing() -> None:
    async with EmbeddedWorld() as w:
        await w.client()
        commits = w.engine.commits  # type: ignore[attr-defined]
        await w.settle()
        assert w.engine.commits == commits  # type: ignore[attr-defined]


async def test_a_pass_reads_what_is_due_and_not_every_member() -> None:
    async with EmbeddedWorld() as w:
        await w.engine.rooms.create(w.room_request(ROOM))
        for number in range(150):
            await (await w.client(f"user-{number}")).join(ROOM)
        await w.advance(70)
        await w.settle()  # compares all for the first time (R10)
        rows = 0

        def trace(_cursor: object, row: tuple[object, ...]) -> tuple[object, ...]:
            nonlocal rows
            rows += 1
            return row

        connection_of(w).set_row_trace(trace)
        await w.settle()
        connection_of(w).set_row_trace(None)
        assert rows <= 2


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_few_rooms_are_kept_in_memory_and_all_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "MOST_ROOMS", 2)
    async with EmbeddedWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        names = [f"room-{number}" for number in range(6)]
        for name in names:
            await a.join(name)
            await b.join(name)
        kept = w.engine._state.rooms.rows  # type: ignore[attr-defined]
        assert len(kept) == 2
        assert [(await w.roster(name)).count for name in names] == [2] * 6
        await a.close()
        await w.engine.rooms.moderate(EndRoom(app=APP, room="room-0"))
        assert [(await w.roster(name)).count for name in names] == [0, *[1] * 5]
        assert len(kept) == 2


async def test_r11_a_large_room_is_ended_in_passes_and_refuses_joins_meanwhile() -> None:
    async with EmbeddedWorld() as w:
        await w.engine.rooms.create(w.room_request(ROOM, detailed=False))
        clients = [await w.client(f"user-{number}") for number in range(ENDED_OF_PASS + 30)]
        for client in clients:
            await client.join(ROOM)
        await clients[-1].detach(40)
        first = await w.engine.rooms.moderate(EndRoom(app=APP, room=ROOM))
        assert (await w.roster(ROOM)).count == 30
        (room,) = (await w.engine.rooms.rooms(RoomQuery(app=APP, names=[ROOM]))).items
        assert room.ending
        with refused(ErrorCode.ROOM_ENDING):
            await (await w.client("late")).join(ROOM)
        with refused(ErrorCode.ROOM_ENDING):
            await w.engine.rooms.create(w.room_request(ROOM))
        again = await w.engine.rooms.moderate(EndRoom(app=APP, room=ROOM))
        rest = await w.settle()
        lost = first.lost + again.lost + rest.lost
        connected = {client.id for client in clients[:-1]}
        assert {each.session_id for each in lost} == connected
        assert len(lost) == len(connected)
        assert (await w.room_types(ROOM)).count("left") == len(clients)
        assert (await w.room_types(ROOM))[-1] == "ended"
        await (await w.client("late")).join(ROOM)


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_a_broken_call_takes_nothing_of_rooms_along() -> None:
    async with EmbeddedWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        await a.join(ROOM)
        before = await w.roster(ROOM)

        def broken(tx: Transaction) -> None:
            join_room(tx, b.join_request(ROOM))
            join_room(tx, b.join_request("another"))
            kick_member(tx, KickMember(app=APP, room=ROOM, participant_id=a.participant_id))
            raise RuntimeError("broken")

        with pytest.raises(ServiceUnavailableError):
            await w.engine.writer.submit(broken)  # type: ignore[attr-defined]
        assert await w.roster(ROOM) == before
        assert (await w.roster("another")).version == 0
        assert await a.rooms() == (ROOM,)
        assert (await b.join(ROOM)).count == 2
        await a.leave(ROOM)
        await a.join(ROOM)


async def test_a_message_of_a_call_that_was_rolled_back_may_be_sent_again() -> None:
    async with EmbeddedWorld() as w:
        a = await w.client()
        await a.join(ROOM)
        await w.engine.bus.watch_rooms(APP, [ROOM])
        batcher: Any = w.engine._batcher  # type: ignore[attr-defined]

        def broken(tx: Transaction) -> None:
            raise RuntimeError("broken")

        book: list[Any] = []

        def send(tx: Transaction) -> None:
            message = SendMessage(
                app=APP, room=ROOM, message_id="one", message=b"1", sender=a.participant_id, session_id=a.id
            )
            book.append(send_message(tx, message))

        _, news = batcher.run([send, broken])
        assert [message.number for message in news.room_news] == [book[-1]]
        assert len(book) == 2, "the batch was rolled back, and its calls ran one by one"
        assert book[1] > book[0]


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_what_is_over_goes_from_the_file() -> None:
    async with EmbeddedWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        for room in (ROOM, "another"):
            await a.join(room)
            await b.join(room)
        await a.send(ROOM)
        await w.engine.rooms.moderate(KickMember(app=APP, room=ROOM, participant_id=b.participant_id))
        await w.engine.rooms.invite(_invitation(w, a.participant_id))
        await a.close()
        await w.engine.rooms.moderate(EndRoom(app=APP, room="another"))
        assert [table for table in TABLES if rows_of(w, table)] == ["rooms", "removals", "kept_out", "invitations"]
        await w.advance(700)
        assert [table for table in TABLES if rows_of(w, table)] == []
        memory = w.engine._state.rooms  # type: ignore[attr-defined]
        assert (memory.known, memory.books, memory.kept_out, memory.invited) == (0, {}, {}, {})


async def test_an_erase_leaves_no_invitation_text_in_the_file(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client("alice")
        await w.engine.rooms.invite(_invitation(w, "someone", inviter=a.participant_id, text="call 555-0199"))
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
        await w.advance(3)
    files = list(tmp_path.iterdir())  # noqa: ASYNC240 - small, and nobody waits
    assert b"555-0199" not in b"".join(path.read_bytes() for path in files)


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_rooms_do_not_remember_who_was_erased() -> None:
    async with EmbeddedWorld() as w:
        a, b = await w.client("alice"), await w.client("bob")
        await a.join(ROOM)
        await b.join(ROOM)
        await b.join("left before")
        await a.join("left before")
        known = await w.roster("left before")
        await a.leave("left before")
        held = await w.roster(ROOM)
        await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
        for room, roster in ((ROOM, held), ("left before", known)):
            found = await w.roster(room, since=roster.version)
            assert (found.since, [member.id for member in found.members], found.left) == (None, [b.participant_id], ())
            assert found.record is not None
            assert found.record.opened_by == ("" if room == ROOM else b.participant_id)
        for table, column in (("removals", "participant"), ("members", "participant"), ("rooms", "opened_by")):
            sql = f"SELECT count(*) FROM {table} WHERE {column} = ?"
            assert connection_of(w).execute(sql, (a.participant_id,)).get == 0, table


async def test_r6_nothing_of_a_message_is_written(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client()
        await a.join(ROOM)
        log = tmp_path / "greenroom.db-wal"
        before = log.stat()
        for _ in range(5):
            await a.send(ROOM)
        after = log.stat()
        assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        await a.leave(ROOM)
        assert log.stat().st_mtime_ns > before.st_mtime_ns


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_r6_numbers_of_messages_rise_across_a_restart(tmp_path: Path) -> None:
    async with EmbeddedWorld(str(tmp_path)) as w:
        a = await w.client()
        await a.join(ROOM)
        first = await a.send(ROOM)
        await w.restart()
        await w.step(0.001)
        await a.resume(lease=w.lease)
        assert await a.send(ROOM) > first


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_r10_a_roster_that_differs_from_the_sessions_is_repaired() -> None:
    async with EmbeddedWorld() as w:
        a, b, c = await w.client("alice"), await w.client("bob"), await w.client("carol")
        for client in (a, b):
            await client.join(ROOM)
        await c.join("another")
        con = connection_of(w)
        # A ghost of someone who was forgotten, one of someone who is in another room alone, and a record of before.
        (n,) = con.execute("SELECT n FROM rooms WHERE name = ?", (ROOM,)).fetchall()[0]
        for ghost in ("00000000-0000-0000-0000-000000000000", c.participant_id):
            con.execute(
                "INSERT INTO members SELECT r, ?, version, since, update_at, due, record FROM members"
                " WHERE r = ? AND participant = ?",
                (ghost, n, a.participant_id),
            )
        con.execute("UPDATE rooms SET count = 4 WHERE n = ?", (n,))
        con.execute("UPDATE participants SET name = 'Bobby' WHERE id = ?", (b.participant_id,))
        w.engine._state.load(con)  # type: ignore[attr-defined]
        assert (await w.roster(ROOM)).count == 4
        await w.advance(REPAIR_PERIOD + 2)
        roster = await w.roster(ROOM)
        assert roster.count == 2
        assert {member.id: member.name for member in roster.members} == {
            a.participant_id: "",
            b.participant_id: "Bobby",
        }
        left = [event for event in await w.room_events(ROOM) if event.type == "room.left"]
        assert {event.data["reason"] for event in left} == {"lost"}
        assert len(left) == 2


@pytest.mark.usefixtures("rows_in_memory_are_those_of_the_file")
async def test_a_changed_list_of_roster_attributes_counts_from_the_next_join() -> None:
    async with EmbeddedWorld() as w:
        a, b = await w.client("alice", attributes={"role": "nurse"}), await w.client("bob")
        await a.join(ROOM)
        roster = await b.join(ROOM, limits=RoomLimits(roster_attributes=("role",)))
        assert [member.attributes for member in roster.members] == [None, None]
        await w.advance(2)
        await a.update(name="Alice")
        assert (await w.members(ROOM))[a.participant_id].attributes == {"role": "nurse"}


def _invitation(w: EmbeddedWorld, invitee: str, **changes: Any) -> InviteRequest:
    return InviteRequest(
        app=APP,
        room=ROOM,
        invitation_id=f"invitation-{w.number()}",
        **({"inviter": "inviter", "invitee": invitee} | changes),
    )
