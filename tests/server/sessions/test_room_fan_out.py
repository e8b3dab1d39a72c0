"""Changes and messages to who is in rooms of a node: gathered, encoded once, and never too much for a slow reader."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.rooms.news import RoomMessage
from greenroom.core.rooms.watching import WAITING_BYTES, WatchedRoster
from greenroom.core.states import ServerEvent
from greenroom.server.sessions import room_fan_out
from tests.core.server.rig import APP
from tests.server.room_clients import ANNA, BOB, CAROL, ROOM, ask, changes, flush, ids, join, result_of
from tests.server.shell import running_shell


async def test_r5_changes_are_gathered_and_encoded_once() -> None:
    async with running_shell() as shell:
        watchers = [await shell.open("anna", openId=f"open id number {number}") for number in range(3)]
        for one in watchers:
            await result_of(shell, one, "rooms.watch", rooms=[ROOM])
        for number in range(4):
            await join(shell, await shell.open("bob", openId=f"another open id {number}"))
        await join(shell, await shell.open("carol"))
        await flush(shell)
        frames = [[one for one in link.frames if b"rooms.changed" in one] for _, link in watchers]
        assert [len(one) for one in frames] == [1, 1, 1]
        assert all(one[0] is frames[0][0] for one in frames), "one encoding for all"
        (notice,) = changes(watchers[0][1])
        assert sorted(ids(notice["joined"])) == sorted([BOB, CAROL])
        assert {one["id"]: one.get("sessions", 1) for one in notice["joined"]} == {BOB: 4, CAROL: 1}


async def test_a_watcher_that_reads_slowly_gets_what_differs_when_it_reads() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        anna[1].paused = True
        await join(shell, bob)
        await flush(shell)
        await result_of(shell, bob, "rooms.leave", room=ROOM)
        carol = await shell.open("carol")
        await join(shell, carol)
        await flush(shell)
        assert changes(anna[1]) == []
        anna[1].paused = False
        anna[0].drained()
        (notice,) = changes(anna[1])
        assert (ids(notice["joined"]), notice["left"], notice["count"]) == ([CAROL], [[BOB, "left"]], 2)
        anna[0].drained()
        assert len(changes(anna[1])) == 1


async def test_r6_messages_go_to_members_but_not_to_the_sender() -> None:
    async with running_shell() as shell:
        anna, twin = await shell.open("anna"), await shell.open("anna", openId="open id of the twin")
        bob, carol = await shell.open("bob"), await shell.open("carol")
        for one in (anna, twin, bob):
            await join(shell, one)
        await result_of(shell, carol, "rooms.watch", rooms=[ROOM])
        await result_of(shell, anna, "rooms.send", room=ROOM, messageId="m1", message={"hand": "up"})
        await shell.settle()
        received = [link.notifications("rooms.message") for _, link in (anna, twin, bob, carol)]
        assert [len(one) for one in received] == [0, 1, 1, 0]
        number = received[2][0]["number"]
        assert received[2][0] == {"room": ROOM, "number": number, "from": ANNA, "message": {"hand": "up"}}
        await result_of(shell, anna, "rooms.send", room=ROOM, messageId="m1", message={"hand": "up"})
        await shell.settle()
        assert len(bob[1].notifications("rooms.message")) == 1, "a repeat is published once"
        await result_of(shell, bob, "rooms.send", room=ROOM, messageId="m2", message=2, to=[ANNA])
        await shell.settle()
        assert [len(link.notifications("rooms.message")) for _, link in (anna, twin, bob, carol)] == [1, 2, 1, 0]
        assert (await ask(shell, carol, "rooms.send", room=ROOM, messageId="m", message=1))["error"]["code"] == (
            ErrorCode.NOT_A_MEMBER
        )


async def test_r6_a_reader_that_is_too_slow_learns_what_it_missed() -> None:
    async with running_shell() as shell:
        anna, bob, carol = await shell.open("anna"), await shell.open("bob"), await shell.open("carol")
        for one in (anna, bob, carol):
            await join(shell, one)
        bob[1].paused = True
        size = 15_000
        for number in range(6):
            sender = (anna, carol)[number % 2]
            await result_of(shell, sender, "rooms.send", room=ROOM, messageId=f"m{number}", message="x" * size)
        await shell.settle()
        fan_out = shell.hub.rooms.fan_out
        assert bob[1].notifications("rooms.message") == []
        fits = WAITING_BYTES // (size + 100)
        assert (fan_out.messages_sent, fan_out.messages_missed) == (6, {"slow": 6 - fits, "away": 0})
        bob[1].paused = False
        bob[0].drained()
        received = bob[1].notifications("rooms.message")
        assert (len(received), [one["number"] for one in received]) == (
            fits, sorted(one["number"] for one in received),
        )  # fmt: skip
        assert bob[1].notifications("rooms.missed") == [{"room": ROOM, "count": 6 - fits}]
        assert not bob[1].closed
        assert (fan_out.messages_sent, fan_out.messages_missed["away"]) == (6 + fits, 0)
        bob[1].paused = True
        await result_of(shell, anna, "rooms.send", room=ROOM, messageId="last", message="for nobody")
        await shell.settle()
        bob[0].lost(1006, "")
        await shell.settle()
        assert (fan_out.messages_sent, fan_out.messages_missed) == (7 + fits, {"slow": 6 - fits, "away": 1})


async def test_r6_where_more_messages_come_than_can_be_written_members_miss_some_and_learn_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_shell() as shell:
        people = [await shell.open(name) for name in ("anna", "bob", "carol")]
        for one in people:
            await join(shell, one)
        slow = people[2][1]
        slow.paused = True
        fan_out = shell.hub.rooms.fan_out
        size = 15_000

        def sent(number: int) -> RoomMessage:
            text = msgspec.json.encode("x" * size)
            return RoomMessage(app=APP, room=ROOM, number=number, sender=ANNA, session_id="", message=text)

        monkeypatch.setattr(room_fan_out, "MOST_WAITING_BYTES", 4 * (size + 1_000))
        await shell.settle()
        fan_out._left_in_turn = 0
        for number in range(30):  # in one turn of the loop
            shell.hub.rooms.message(sent(number))
        assert len(fan_out._waiting) == 5, "four, and what was missed"
        await shell.settle()
        for _, link in people[:2]:
            assert [one["number"] for one in link.notifications("rooms.message")] == [0, 1, 2, 3]
            assert link.notifications("rooms.missed") == [{"room": ROOM, "count": 26}]
        assert (fan_out.messages_sent, fan_out.messages_missed["slow"]) == (8, 3 * 26)
        assert fan_out._waiting_bytes == 0
        slow.paused = False
        people[2][0].drained()
        assert len(slow.notifications("rooms.message")) == 4
        assert slow.notifications("rooms.missed") == [{"room": ROOM, "count": 26}]
        shell.hub.rooms.message(sent(30))
        await shell.settle()
        assert len(slow.notifications("rooms.message")) == 5


async def test_changes_that_are_sent_are_counted() -> None:
    async with running_shell() as shell:
        people = [await shell.open(name) for name in ("anna", "bob", "carol")]
        for one in people:
            await join(shell, one)
            await flush(shell)
        sent = sum(len(changes(link)) for _, link in people)
        assert (shell.hub.rooms.fan_out.changes_sent, sent) == (sent, 3)


async def test_r5_who_joins_alone_gets_no_frame_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_shell() as shell:
        made: list[int] = []
        frame = WatchedRoster.frame

        def counted(copy: WatchedRoster, since: int, limit: int) -> bytes:
            made.append(since)
            return frame(copy, since, limit)

        monkeypatch.setattr(WatchedRoster, "frame", counted)
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        await flush(shell)
        assert made == []
        await join(shell, bob)
        await flush(shell)
        assert len(made) == 1
        assert [ids(notice["joined"]) for notice in changes(anna[1])] == [[BOB]]


async def test_r5_what_nobody_watched_yet_is_not_sent_again_with_the_next_change() -> None:
    async with running_shell() as shell:
        crowd = [await shell.open("anna", openId=f"open id number {number}") for number in range(4)]
        crowd += [await shell.open("bob", openId=f"another open id {number}") for number in range(4)]
        for connection, _ in crowd:
            shell.say(connection, "rooms.join", 9, room=ROOM)
        await flush(shell)
        held = {link: len(changes(link)) for _, link in crowd}
        await join(shell, await shell.open("carol"))
        await flush(shell)
        for _, link in crowd:
            (notice,) = changes(link)[held[link] :]
            assert ids(notice["joined"]) == [CAROL]
            assert "changed" not in notice


async def test_many_rooms_that_change_in_one_instant_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_shell() as shell:
        names = [f"room {number}" for number in range(12)]
        anna, bob = await shell.open("anna"), await shell.open("bob")
        for name in names:
            await result_of(shell, anna, "rooms.watch", rooms=[name])
        fan_out = shell.hub.rooms.fan_out
        monkeypatch.setattr(fan_out, "_flush", lambda: None)
        joined = {name: (await join(shell, bob, name))["roster"]["version"] for name in names}
        monkeypatch.undo()
        fan_out._batcher._due = [(0.0, key) for _, key in fan_out._batcher._due]
        fan_out._left_in_turn = 10
        fan_out._flush()
        assert 0 < len(changes(anna[1])) < 6, "a frame costs as much as some connections"
        await flush(shell)
        assert {notice["room"]: notice["version"] for notice in changes(anna[1])} == joined


async def test_r5_of_a_counted_room_members_get_the_count_alone() -> None:
    async with running_shell() as shell:
        shell.services.tokens["anna"] = msgspec.structs.replace(shell.services.tokens["anna"], scopes=("*",))
        anna, bob, carol = await shell.open("anna"), await shell.open("bob"), await shell.open("carol")
        created = await result_of(shell, anna, "rooms.create", room=ROOM, detailed=False)
        assert (created["roster"]["detailed"], created["roster"]["count"]) == (False, 0)
        first = (await join(shell, anna))["roster"]
        roster = (await join(shell, bob))["roster"]
        for found in (first, roster):
            assert (found["detailed"], "members" in found, found["cursor"]) == (False, False, first["cursor"])
        assert roster["count"] == 2
        await flush(shell)
        notice = changes(anna[1])[-1]
        room_id = roster["id"]
        assert notice == {"room": ROOM, "version": roster["version"], "since": 0, "count": 2, "id": room_id}
        sent = len(changes(anna[1]))
        await join(shell, carol)
        await result_of(shell, bob, "rooms.leave", room=ROOM)
        await flush(shell)
        assert [one["count"] for one in changes(anna[1])[sent:]] in ([2], [3, 2])
        page = await result_of(shell, anna, "rooms.members", room=ROOM, cursor=roster["cursor"])
        assert sorted(ids(page["members"])) == sorted([ANNA, CAROL]), "members by page"
        (roster,) = (await result_of(shell, bob, "rooms.watch", rooms=[ROOM]))["rosters"]
        assert (roster["count"], roster["detailed"], "members" in roster) == (2, False, False)


async def test_an_expired_token_gets_changes_and_messages_after_the_refresh() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        for one in (anna, bob):
            await join(shell, one)
        await flush(shell)
        anna[1].frames.clear()
        assert anna[0].context.step(ServerEvent.EXPIRE)
        await result_of(shell, bob, "rooms.send", room=ROOM, messageId="m1", message=1)
        await join(shell, await shell.open("carol"))
        await flush(shell)
        assert anna[1].frames == []
        await result_of(shell, anna, "session.refreshToken", token="anna")
        await shell.settle()
        assert [one["message"] for one in anna[1].notifications("rooms.message")] == [1]
        assert ids(changes(anna[1])[-1]["joined"]) == [CAROL]
