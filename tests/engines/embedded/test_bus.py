"""News within one process: to whom it goes, and what is counted."""

from __future__ import annotations

from greenroom.core.commands import DirectoryCommand
from greenroom.engines.embedded.bus import EmbeddedBus
from greenroom.engines.rooms import RoomMessage, RosterChange
from greenroom.model import PARTITIONS, ParticipantRecord, partition_of
from greenroom.testing.engine_world import RecordingListener

ANNA, BOB = (ParticipantRecord(app="app", id=name, version=1) for name in ("anna", "bob"))
AT = partition_of("app", "anna")
FIRST = 1000


def listening() -> tuple[EmbeddedBus, RecordingListener]:
    bus, listener = EmbeddedBus(FIRST), RecordingListener()
    bus.listen(listener)
    return bus, listener


def test_only_changes_of_who_is_watched_are_passed_on_and_counted() -> None:
    bus, listener = listening()
    bus.watch("app", ["anna"])
    bus.publish([BOB, ANNA, ParticipantRecord(app="other", id="anna")])
    assert [(change.id, change.participant) for change in listener.changes] == [(FIRST + 1, ANNA)]
    assert bus.newest(range(PARTITIONS)) == {n: FIRST + (n == AT) for n in range(PARTITIONS)}


def test_a_watch_ends_with_the_last_of_its_kind_and_ending_one_that_is_none_is_harmless() -> None:
    bus, listener = listening()
    bus.watch("app", ["anna", "anna"])
    bus.unwatch("app", ["anna", "bob"])
    bus.publish([ANNA])
    assert len(listener.changes) == 1
    bus.unwatch("app", ["anna", "anna"])
    bus.publish([ANNA])
    assert len(listener.changes) == 1
    bus.watch("app", ["anna"])
    bus.publish([ANNA])
    assert len(listener.changes) == 2, "the surplus is not remembered"


def test_news_of_rooms_go_out_in_their_order_while_a_room_is_watched() -> None:
    bus, listener = listening()
    change = RosterChange(app="app", room="lobby", version=2, since=1, count=1)
    message = RoomMessage(app="app", room="lobby", number=1, sender="", session_id="", message=b"1")
    elsewhere = RosterChange(app="app", room="hall", version=2, since=1, count=1)
    bus.watch_rooms("app", ["lobby", "lobby"])
    bus.unwatch_rooms("app", ["lobby", "hall"])
    bus.publish_rooms([elsewhere, message, change])
    assert (listener.room_changes, listener.room_messages) == ([change], [message])
    bus.unwatch_rooms("app", ["lobby"])
    bus.publish_rooms([message, change])
    assert (listener.room_changes, listener.room_messages) == ([change], [message])


async def test_every_command_is_for_the_one_node() -> None:
    bus, listener = listening()
    for node in ("*", "node-1", "anyone"):
        await bus.send(node, DirectoryCommand())
    assert listener.commands == [DirectoryCommand()] * 3
