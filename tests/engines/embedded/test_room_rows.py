"""Rows of rooms, and what is remembered of a room's messages in memory."""

from __future__ import annotations

from greenroom.core.rate_limit import TokenBucket
from greenroom.engines.embedded.room_rows import ENDING, MessageBook, RoomRow, encode_names
from greenroom.engines.rooms import MESSAGE_MEMORY

MEMORY_MS = int(MESSAGE_MEMORY * 1000)


def test_a_room_is_shown_in_seconds_and_as_ending_while_its_members_leave() -> None:
    room = RoomRow(1, "app", "lobby", "r1-x", ttl=1500, detailed=0)
    assert (room.record().ttl, room.record().ending, room.record().detailed) == (1.5, False, False)
    room.state = ENDING
    assert room.record().ending


def test_names_of_attributes_are_read_as_written_and_none_take_no_room() -> None:
    room = RoomRow(1, "app", "lobby", "r1-x", attributes=encode_names(("team", "seat")))
    assert room.shown_attributes() == ("team", "seat")
    room.attributes = encode_names(())
    assert room.attributes is None
    assert room.shown_attributes() == ()


def test_ids_of_messages_are_forgotten_when_they_are_too_old_and_not_before() -> None:
    book = MessageBook()
    book.ids["anna", "first"] = (1, 0)
    book.ids["anna", "second"] = (2, 1)
    book.forget_ids(MEMORY_MS)
    assert list(book.ids) == [("anna", "first"), ("anna", "second")]
    book.forget_ids(MEMORY_MS + 1)
    assert list(book.ids) == [("anna", "second")]


def test_a_book_is_needed_while_ids_budgets_or_numbers_are_ahead_of_the_time() -> None:
    book = MessageBook()
    assert book.is_idle(0, 1)
    book.ids["anna", "first"] = (1, 0)
    assert not book.is_idle(0, 1)
    assert book.is_idle(MEMORY_MS + 1, 1)
    bucket = book.of["anna"] = TokenBucket(rate=1.0, burst=2.0, now=0.0)
    assert bucket.take(0.0)
    assert not book.is_idle(0, 1)
    assert book.is_idle(1000, 1), "the budget is whole again"
    assert not book.of
    book.last = 5
    assert not book.is_idle(0, 5), "a number that the time has not reached must not be given again"
    assert book.is_idle(0, 6)
