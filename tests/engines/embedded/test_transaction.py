"""What an operation sees of its own writes, and what a batch that is rolled back leaves: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.embedded.room_rows import RoomRow
from greenroom.engines.embedded.rows import hash_key
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import ServiceUnavailableError
from greenroom.model import EndReason, Event
from greenroom.testing.engine_world import APP, EmbeddedWorld


def event(at: int) -> Event:
    return Event(id=f"e{at}", type="session.opened", at=at, app=APP)


async def test_a_room_is_visible_at_once_and_written_once_before_the_commit() -> None:
    async with EmbeddedWorld() as w:
        engine: Any = w.engine

        def change(tx: Transaction) -> tuple[int, list[Any]]:
            room = RoomRow(0, APP, "lobby", "r1-x")
            for version in (1, 2, 3):
                room.version = version
                tx.save_room(room)
                tx.save_room_count(room)
                assert tx.room(APP, "lobby") is room
            assert not tx.rows("SELECT n FROM rooms")
            tx.flush()
            return room.n, tx.rows("SELECT n, version FROM rooms")

        number, rows = await engine.writer.submit(change)
        assert rows == [(number, 3)]


async def test_a_room_of_which_the_count_alone_changed_keeps_the_rest() -> None:
    async with EmbeddedWorld() as w:
        engine: Any = w.engine
        await w.engine.rooms.create(w.room_request("lobby"))

        def count(tx: Transaction) -> list[Any]:
            room = tx.room(APP, "lobby")
            assert room is not None
            room.count, room.ttl = 7, 1
            tx.save_room_count(room)
            tx.flush()
            return tx.rows("SELECT count, ttl = 1 FROM rooms")

        assert await engine.writer.submit(count) == [(7, 0)]


async def test_a_room_that_is_forgotten_is_unknown_within_the_batch_too() -> None:
    async with EmbeddedWorld() as w:
        engine: Any = w.engine

        def forget(tx: Transaction) -> None:
            room = RoomRow(0, APP, "lobby", "r1-x")
            tx.save_room(room)
            tx.flush()
            tx.forget_room(room)
            assert tx.room(APP, "lobby") is None
            assert tx.state.rooms.known == 0

        await engine.writer.submit(forget)


async def test_numbers_of_events_are_consecutive_and_their_instants_never_go_back() -> None:
    async with EmbeddedWorld() as w:
        engine: Any = w.engine

        def emit(tx: Transaction) -> list[Any]:
            for at in (10, 30, 20):
                tx.emit(event(at))
            tx.flush()
            return tx.rows("SELECT seq, at FROM events WHERE app = ?", (APP,))

        assert await engine.writer.submit(emit) == [(1, 10), (2, 30), (3, 30)]


async def test_what_is_rolled_back_took_no_number_no_room_and_no_event() -> None:
    async with EmbeddedWorld() as w:
        engine: Any = w.engine

        def fail(tx: Transaction) -> None:
            tx.emit(event(1))
            tx.save_room(RoomRow(0, APP, "lobby", "r1-x"))
            tx.flush()
            raise ZeroDivisionError

        with pytest.raises(ServiceUnavailableError):
            await engine.writer.submit(fail)

        def look(tx: Transaction) -> tuple[int, int, RoomRow | None, list[Any]]:
            return (
                tx.state.stream(APP).last,
                tx.state.rooms.last,
                tx.room(APP, "lobby"),
                tx.rows("SELECT 1 FROM events"),
            )

        assert await engine.writer.submit(look) == (0, 0, None, [])
        assert w.ready == []


async def test_a_row_under_the_number_of_another_id_is_not_that_session() -> None:
    """Two ids could have one number; the id itself decides."""
    async with EmbeddedWorld() as w:
        engine: Any = w.engine
        await w.client()

        def collide(tx: Transaction) -> bool:
            tx.writes += 1
            tx.state.rows.clear()
            tx.execute("UPDATE sessions SET key = ?", (hash_key(tx.state.hash_key, "p1-other"),))
            return tx.session("p1-other") is None

        assert await engine.writer.submit(collide)


async def test_why_a_session_without_a_row_ended_is_known_until_its_time() -> None:
    async with EmbeddedWorld() as w:
        engine: Any = w.engine
        a = await w.client()
        await a.close(EndReason.KICKED)

        def forget(tx: Transaction) -> None:
            tx.forget_surplus(
                [
                    (n, app, key, tx.clock + 1000, data)
                    for n, app, key, data in tx.rows("SELECT n, app, key, data FROM sessions")
                ]
            )

        await engine.writer.submit(forget)
        assert await w.session(a.id) is None

        def reason(tx: Transaction) -> tuple[str | None, ErrorCode]:
            error = tx.unknown_session(a.id)
            return error.end_reason, error.code

        assert (await engine.writer.submit(reason))[0] == "kicked"
        await w.advance(2)
        assert await engine.writer.submit(reason) == (None, ErrorCode.STATE_LOST)
