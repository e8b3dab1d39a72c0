"""A node's copy of a roster: what differs, what is due, what waits."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from greenroom.core.rooms.news import RoomMessage, RosterChange
from greenroom.core.rooms.requests import Roster
from greenroom.core.rooms.watching import (
    AT_ONCE_SECONDS,
    COUNT_SECONDS,
    GATHER_SECONDS,
    WAITING_BYTES,
    RoomBatcher,
    RoomWatches,
    WatchedRoster,
    bytes_of,
    encode_message,
    invitation_to_wire,
    roster_to_wire,
)
from greenroom.messages import WireRoster
from greenroom.model import Invitation, MemberRecord, RoomRecord

RECORD = RoomRecord(app="app", name="room", id="r1-00")


def member(one: str, **fields: Any) -> MemberRecord:
    return MemberRecord(id=one, **fields)


def whole(version: int, *members: MemberRecord, **fields: Any) -> Roster:
    values: dict[str, Any] = {"count": len(members), "record": RECORD, **fields}
    return Roster(room="room", version=version, members=members, **values)


def change(since: int, version: int, count: int, **fields: Any) -> RosterChange:
    return RosterChange(app="app", room="room", since=since, version=version, count=count,
                      **fields)  # fmt: skip


def frame(roster: WatchedRoster, since: int, limit: int = 64_000) -> dict[str, Any]:
    message = msgspec.json.decode(roster.frame(since, limit))
    assert message["method"] == "rooms.changed"
    found: dict[str, Any] = message["params"]
    return found


def wire(roster: WireRoster) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(roster))
    return found


def members_in(copy: WatchedRoster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wire(copy.wire()).get("members", [])
    return found


def ids_in(copy: WatchedRoster) -> list[str]:
    return [one["id"] for one in members_in(copy)]


def names(entries: Any) -> list[str]:
    return [entry["id"] for entry in entries]


def test_differences_are_those_above_the_version_that_was_sent() -> None:
    copy = WatchedRoster(whole(10, member("a"), member("b")), removals=10)
    assert copy.apply(change(10, 11, 3, joined=(member("c"),)))
    assert copy.apply(change(11, 12, 3, changed=(member("a", name="Anna"),)))
    assert copy.apply(change(12, 13, 2, left=(("b", "kicked"),)))
    received = frame(copy, 10)
    assert (received["since"], received["version"], received["count"]) == (10, 13, 2)
    assert (names(received["joined"]), names(received["changed"]), received["left"]) == (
        ["c"],
        ["a"],
        [["b", "kicked"]],
    )
    received = frame(copy, 11)
    assert ("joined" in received, names(received["changed"]), received["left"]) == (False, ["a"], [["b", "kicked"]])
    assert ids_in(copy) == ["a", "c"]
    differing = copy.wire(12)
    assert (differing.since, differing.members, differing.left, differing.version) == (12, [], ["b"], 13)
    assert copy.bytes_since(12) < 20 < copy.bytes_since(10)


def test_each_member_is_named_once_as_it_is_now() -> None:
    copy = WatchedRoster(whole(10), removals=10)
    copy.apply(change(10, 11, 1, joined=(member("a"),)))
    copy.apply(change(11, 12, 1, changed=(member("a", name="Anna"),)))
    received = frame(copy, 10)
    assert [(one["id"], one["name"]) for one in received["joined"]] == [("a", "Anna")]
    assert "changed" not in received
    copy.apply(change(12, 13, 0, left=(("a", "left"),)))
    assert "joined" not in frame(copy, 10)
    copy.apply(change(13, 14, 1, joined=(member("a", joined_at=7),)))
    received = frame(copy, 12)
    assert ([one["joinedAt"] for one in received["joined"]], "left" in received) == ([7], False)


def test_r5_a_change_counts_only_on_what_it_follows() -> None:
    copy = WatchedRoster(whole(10, member("a")), removals=10)
    assert copy.apply(change(8, 9, 9, joined=(member("z"),))), "older: nothing to do"
    assert copy.apply(change(9, 11, 2, joined=(member("b"),)))
    assert not copy.apply(change(12, 13, 3, joined=(member("c"),)))
    assert (copy.version, copy.count, ids_in(copy)) == (11, 2, ["a", "b"])


def test_what_is_not_known_any_more_has_to_be_asked_for() -> None:
    copy = WatchedRoster(whole(10, *[member(f"m{number}") for number in range(5)]), removals=2)
    for number in range(3):
        copy.apply(change(10 + number, 11 + number, 4 - number, left=((f"m{number}", "left"),)))
    assert copy.floor == 11
    received = frame(copy, 10)
    assert (received["since"], received["version"], "left" in received) == (13, 13, False), "stale for whoever has less"
    assert [one for one, _ in frame(copy, 11)["left"]] == ["m1", "m2"]
    assert frame(copy, 11, limit=60)["since"] == 13, "too large"


def test_a_room_that_ended_is_empty_and_says_so() -> None:
    copy = WatchedRoster(whole(10, member("a")), removals=10)
    copy.apply(change(10, 11, 0, left=(("a", "ended"),), ended=True))
    received = frame(copy, 10)
    assert (received["ended"], received["left"], "id" in received, copy.wire().id) == (
        True,
        [["a", "ended"]],
        False,
        None,
    )
    copy.apply(change(11, 12, 1, joined=(member("b"),), room_id="r1-02"))
    received = frame(copy, 10)
    assert ("ended" in received, received["id"], copy.wire().id) == (False, "r1-02", "r1-02")


def test_of_a_counted_room_the_count_alone_is_sent_and_holds_for_any_version() -> None:
    copy = WatchedRoster(whole(10, member("a"), detailed=False), removals=10)
    assert copy.apply(change(50, 51, 4000, detailed=False))
    assert frame(copy, 3) == {"room": "room", "version": 51, "since": 0, "count": 4000}
    assert (copy.wire(3).members, copy.wire(3).since) == ([], None)
    assert roster_to_wire(whole(10, member("a"), detailed=False)).members == []


def test_r5_the_first_page_has_so_many_bytes_and_says_where_to_go_on() -> None:
    members = [member(f"m{number:03}", name="x" * 100) for number in (7, 3, 9, 1, 5)]
    copy = WatchedRoster(whole(10, *members), removals=10)
    each = copy.bytes // 5
    page = copy.first_page(3 * each, "after {}".format)
    assert ([one["id"] for one in wire(page)["members"]], page.cursor) == (["m001", "m003", "m005"], "after m005")
    assert (page.version, page.count, page.since, page.left, page.id) == (10, 5, None, [], "r1-00")
    assert copy.first_page(1, "after {}".format).cursor == "after m001", "at least one"
    assert copy.first_page(5 * each, "after {}".format) == copy.wire()
    counted = WatchedRoster(whole(10, count=9, detailed=False, cursor="first"), removals=10)
    assert (counted.first_page(1, "after {}".format).cursor, counted.bytes) == ("first", 0)


def test_pages_and_changes_between_them() -> None:
    copy = WatchedRoster(whole(10, member("a"), member("b"), count=4, cursor="c"), removals=10)
    copy.apply(change(10, 11, 4, changed=(member("c", name="new"),), left=(("d", "left"),), joined=(member("e"),)))
    copy.take_page(whole(10, member("c", name="old"), member("d")))
    assert ids_in(copy) == ["a", "b", "c", "e"]
    assert members_in(copy)[2]["name"] == "new"
    assert [one for one, _ in frame(copy, 10)["left"]] == ["d"]


def test_a_roster_that_was_read_again_is_sent_as_what_differs() -> None:
    copy = WatchedRoster(whole(10, member("a"), member("b"), member("c")), removals=10)
    copy.replace([whole(20, member("a"), member("b", name="Bob")), whole(22, member("d"))])
    received = frame(copy, 10)
    assert (received["version"], names(received["changed"]), names(received["joined"])) == (20, ["b"], ["d"])
    assert received["left"] == [["c", ""]]


def test_r5_versions_never_go_backwards_for_watchers() -> None:
    copy = WatchedRoster(whole(30, member("a")), removals=10)
    copy.replace([whole(20, member("a"))])
    assert copy.version == 30
    copy.replace([whole(20, member("b"))])
    assert copy.version == 31
    assert (names(frame(copy, 30)["joined"]), frame(copy, 30)["left"]) == (["b"], [["a", ""]])


@pytest.mark.parametrize("seed", range(20))
def test_whoever_follows_the_frames_has_the_roster(seed: int) -> None:
    """A client that applies what the frames say, from any version that it was sent, has what the copy has."""
    print("seed", seed)
    chance = random.Random(seed)
    copy = WatchedRoster(whole(1), removals=8)
    truth: dict[str, MemberRecord] = {}
    clients: list[tuple[int, dict[str, str]]] = []
    for version in range(2, 120):
        fields: dict[str, Any]
        one = f"m{chance.randrange(12)}"
        record = member(one, name=str(version), joined_at=version)
        if one not in truth:
            truth[one], fields = record, {"joined": (record,)}
        elif chance.random() < 0.5:
            truth[one], fields = record, {"changed": (record,)}
        else:
            del truth[one]
            fields = {"left": ((one, "left"),)}
        assert copy.apply(change(version - 1, version, len(truth), **fields))
        assert ids_in(copy) == sorted(truth)
        assert copy.bytes == bytes_of(whole(1, *truth.values()))
        clients.append((version, {key: record.name for key, record in truth.items()}))
        if chance.random() < 0.3:
            since, held = clients.pop(chance.randrange(len(clients)))
            received = frame(copy, since)
            if received["since"] > since:
                assert since < copy.floor
                continue
            for gone, _ in received.get("left", ()):
                held.pop(gone, None)
            for entry in (*received.get("joined", ()), *received.get("changed", ())):
                held[entry["id"]] = entry["name"]
            assert held == {key: record.name for key, record in truth.items()}
            assert received["count"] == len(held)


def test_r5_the_first_change_goes_at_once_and_the_next_are_gathered() -> None:
    batcher, key = RoomBatcher(), ("app", "room")
    assert batcher.wait(100.0) is None
    batcher.changed(key, 100.0)
    assert batcher.wait(100.0) == pytest.approx(AT_ONCE_SECONDS)
    assert batcher.drain(100.0) == []
    assert batcher.drain(100.01) == [key]
    batcher.sent(key, 100.01, detailed=True)
    batcher.changed(key, 100.02)
    batcher.changed(key, 100.03)
    batcher.changed(("app", "other"), 100.03)
    assert batcher.drain(100.05) == [("app", "other")]
    assert batcher.wait(100.05) == pytest.approx(GATHER_SECONDS - 0.04)
    assert batcher.drain(100.12) == [key]
    assert batcher.drain(101.0) == []


def test_r5_counts_go_once_a_second() -> None:
    batcher, key = RoomBatcher(), ("app", "room")
    batcher.sent(key, 100.0, detailed=False)
    batcher.changed(key, 100.5)
    assert batcher.wait(100.5) == pytest.approx(COUNT_SECONDS - 0.5)


def test_the_batcher_forgets_rooms_that_are_quiet() -> None:
    batcher = RoomBatcher()
    for number in range(1000):
        batcher.sent(("app", f"room-{number}"), float(number), detailed=True)
    assert len(batcher._next) <= 65


def test_r6_messages_wait_up_to_64_kib_and_the_rest_is_counted() -> None:
    watches = RoomWatches()
    assert not watches.is_waiting
    piece = b"x" * (WAITING_BYTES // 4)
    for _ in range(6):
        watches.enqueue("room", piece)
    watches.enqueue("other", piece)
    assert (watches.is_waiting, watches.waiting_bytes) == (True, WAITING_BYTES)
    assert [watches.next_piece() for _ in range(4)] == [piece] * 4
    missed = [msgspec.json.decode(watches.next_piece() or b"") for _ in range(2)]
    assert [one["method"] for one in missed] == ["rooms.missed"] * 2
    assert [one["params"] for one in missed] == [{"room": "room", "count": 2}, {"room": "other", "count": 1}]
    assert (watches.next_piece(), watches.is_waiting, watches.waiting_bytes) == (None, False, 0)


def test_messages_and_invitations_on_the_wire() -> None:
    message = RoomMessage(app="app", room="room", number=3, sender="", session_id="s", message=b'{"a": [1]}')
    assert msgspec.json.decode(encode_message(message)) == {
        "method": "rooms.message", "params": {"room": "room", "number": 3, "message": {"a": [1]}}, "jsonrpc": "2.0",
    }  # fmt: skip
    invitation = Invitation(id="i", room="room", inviter="", created_at=1, expires_at=2)
    assert msgspec.to_builtins(invitation_to_wire(invitation)) == {
        "id": "i", "room": "room", "createdAt": 1, "expiresAt": 2,
    }  # fmt: skip
