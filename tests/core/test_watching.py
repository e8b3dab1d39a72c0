"""Updates to watchers: versions, batches, pieces."""

from __future__ import annotations

import random

import msgspec
import pytest

from greenroom.core.watching import (
    AT_ONCE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    EncodedUpdate,
    UpdateBatcher,
    Watches,
    cut,
    encode_update,
    frame,
    to_wire,
)
from greenroom.messages import MAX_PIECE_BYTES, ParticipantsChanged, encode_notification
from greenroom.model import ParticipantRecord, Presence


def record(participant_id: str = "a", version: int = 1, **fields: object) -> ParticipantRecord:
    return ParticipantRecord(app="app", id=participant_id, version=version, **fields)  # type: ignore[arg-type]


def update(participant_id: str = "a", version: int = 1, size: int = 10) -> EncodedUpdate:
    return EncodedUpdate(participant_id, version, b"x" * size)


def test_what_watchers_see_is_what_has_been_shown_and_empty_is_absent() -> None:
    wire = to_wire(record(presence=Presence.UNREACHABLE, shown=Presence.ONLINE, name="", avatar_url=""))
    assert wire.presence is Presence.ONLINE
    assert wire.name is None
    assert b"name" not in msgspec.json.encode(wire)


def test_a_frame_is_the_notification_the_codec_would_write() -> None:
    people = [record("a", 1, name='Ä "x"'), record("b", 2)]
    expected = encode_notification("participants.changed", ParticipantsChanged([to_wire(one) for one in people]))
    assert frame([encode_update(one) for one in people]) == expected


def test_pieces_have_at_most_64_kib_and_lose_nothing() -> None:
    dice = random.Random(7)
    items = [update(str(i), i + 1, dice.randrange(10, 30_000)) for i in range(100)]
    watches = Watches()
    watches.answer({item.id: 0 for item in items})
    for item in items:
        watches.enqueue(item)
    parts = []
    while (piece := watches.next_piece()) is not None:
        parts.append(piece)
    assert all(len(part) <= MAX_PIECE_BYTES for part in parts)
    assert b"".join(parts).count(b"x") == sum(len(item.data) for item in items)


def test_one_that_is_longer_than_a_piece_goes_alone() -> None:
    assert cut([update(size=100_000), update("b")]) == 1
    assert cut([]) == 0


def test_an_older_version_is_never_sent_after_a_newer_one() -> None:
    watches = Watches()
    watches.answer({"a": 5})
    assert not watches.is_news(update(version=5))
    assert watches.is_news(update(version=7))
    assert not watches.is_news(update(version=6))
    assert not watches.is_news(update("stranger", 100))


def test_what_is_held_waits_for_the_reply() -> None:
    watches = Watches()
    watches.hold(["a"])
    watches.enqueue(update(version=9))
    watches.enqueue(update(version=8))
    assert watches.next_piece() is None
    watches.answer({"a": 7})
    assert len(watches.waiting) == 1
    piece = watches.next_piece()
    assert piece is not None
    assert watches.next_piece() is None
    assert not watches.is_news(update(version=9))


def test_what_was_held_and_is_not_newer_than_the_reply_is_dropped() -> None:
    watches = Watches()
    watches.hold(["a"])
    watches.enqueue(update(version=6))
    watches.answer({"a": 7})
    assert len(watches.waiting) == 0


def test_what_waits_is_replaced_by_what_is_newer() -> None:
    watches = Watches()
    watches.answer({"a": 1})
    for version in range(2, 50):
        watches.enqueue(update(version=version))
    assert len(watches.waiting) == 1


def test_a_subscription_that_failed_is_forgotten_unless_it_was_there_before() -> None:
    watches = Watches()
    watches.answer({"a": 1})
    watches.hold(["a", "b"])
    watches.enqueue(update(version=3))
    assert watches.release(["a", "b"]) == ("b",)
    assert watches.ids == ("a",)
    assert len(watches.waiting) == 1


def test_another_reply_counts_as_delivered() -> None:
    watches = Watches()
    watches.answer({"a": 1})
    watches.enqueue(update(version=4))
    watches.replied({"a": 4, "stranger": 9})
    assert len(watches.waiting) == 1 or not watches.is_news(update(version=4))
    watches.replied({"a": 6})
    assert len(watches.waiting) == 0
    assert not watches.is_news(update(version=6))
    assert "stranger" not in watches


def test_dropped_means_nothing_more_is_reported() -> None:
    watches = Watches()
    watches.answer({"a": 1, "b": 1})
    watches.enqueue(update(version=4))
    assert watches.drop(["a", "stranger"]) == ("a",)
    assert len(watches.waiting) == 0
    assert not watches.is_news(update(version=9))
    assert len(watches) == 1


@pytest.mark.interpreted
def test_an_idle_connections_watches_are_small() -> None:
    import sys

    watches = Watches()
    watches.answer({"a": 1})
    size = sys.getsizeof(watches) + sum(sys.getsizeof(getattr(watches, slot)) for slot in Watches.__slots__)
    assert size < 600


def test_of_the_changes_in_a_batch_the_newest_of_each_participant_is_sent() -> None:
    batcher = UpdateBatcher()
    for changed in (record("a", 2), record("a", 1), record("b", 1)):
        batcher.changed(changed)
    assert [(one.id, one.version) for one in batcher.drain(1.0)] == [("a", 2), ("b", 1)]
    assert batcher.drain(1.0) == []


def test_the_first_change_after_a_quiet_time_goes_at_once() -> None:
    batcher = UpdateBatcher()
    assert batcher.wait(50.0) == AT_ONCE_SECONDS
    batcher.drain(50.0)
    batcher.took(0.0001, 50.0001)
    assert batcher.wait(50.001) == pytest.approx(PAUSE_SECONDS - 0.001)
    assert batcher.wait(50.0 + PAUSE_SECONDS) == AT_ONCE_SECONDS


def test_the_pause_follows_the_fan_out_and_has_its_bounds() -> None:
    batcher = UpdateBatcher()
    batcher.drain(50.0)
    batcher.took(0.02, 50.03)
    batcher.took(0.02, 50.06)
    assert batcher.wait(50.06) == pytest.approx(0.04)
    batcher.took(0.5, 51.0)
    assert batcher.wait(51.0) == pytest.approx(LONGEST_PAUSE_SECONDS)
    batcher.drain(52.0)
    assert batcher.wait(52.0) == pytest.approx(PAUSE_SECONDS), "the length of the one before does not count any more"
