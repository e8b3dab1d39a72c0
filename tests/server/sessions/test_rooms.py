"""Rooms on one node: subscriptions, copies of rosters, fan-out, messages, and what others do to members."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.commands import InvitedCommand, RoomLeftCommand
from greenroom.core.requests import UpdateRequest
from greenroom.core.rooms.requests import EndRoom, KickMember, Roster, RosterQuery
from greenroom.core.rooms.watching import WAITING_BYTES, WatchedRoster
from greenroom.core.states import ServerEvent
from greenroom.engines.rooms import RosterChange
from greenroom.model import Invitation, participant_id_of
from greenroom.server.sessions import rooms as node_rooms
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.rooms import NodeRoom
from tests.core.server.rig import APP, NAMESPACE, NEXT_SECRET, SECRET
from tests.server.fakes import FakeLink
from tests.server.shell import Shell, running_shell

ANNA, BOB, CAROL = (participant_id_of(NAMESPACE, one) for one in ("anna", "bob", "carol"))
ROOM = "standup"
Client = tuple[SessionConnection, FakeLink]


async def ask(shell: Shell, client: Client, method: str, number: int = 9, **params: Any) -> dict[str, Any]:
    """The reply to a request."""
    connection, link = client
    before = len(link.frames)
    shell.say(connection, method, number, **params)
    for _ in range(200):
        await asyncio.sleep(0)
        found = [one for one in link.messages[before:] if one.get("id") == number]
        if found:
            return found[0]
        await asyncio.sleep(0.001)
    raise AssertionError(f"no reply to {method}")


async def result_of(shell: Shell, client: Client, method: str, **params: Any) -> Any:
    reply = await ask(shell, client, method, **params)
    assert "result" in reply, reply
    return reply["result"]


async def join(shell: Shell, client: Client, room: str = ROOM) -> dict[str, Any]:
    result: dict[str, Any] = await result_of(shell, client, "rooms.join", room=room)
    return result


async def flush(shell: Shell) -> None:
    """Deliver what was gathered, without waiting for it."""
    rooms = shell.hub.rooms
    for _ in range(20):
        await shell.settle()
        await asyncio.sleep(0.001)
        if rooms._timer is not None:
            rooms._timer.cancel()
            rooms._batcher._next.clear()
            rooms._batcher._due = [(0.0, key) for _, key in rooms._batcher._due]
            rooms._flush()


def changes(link: FakeLink) -> list[dict[str, Any]]:
    return link.notifications("rooms.changed")


def ids(entries: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in entries]


def node_room(shell: Shell, room: str = ROOM) -> NodeRoom:
    found = shell.hub.rooms.get(APP, room)
    assert found is not None
    return found


async def test_members_see_who_comes_changes_and_goes() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        result = await join(shell, anna)
        assert (ids(result["roster"]["members"]), result["watching"]) == ([ANNA], True)
        first = result["roster"]["version"]
        result = await join(shell, bob)
        assert sorted(ids(result["roster"]["members"])) == sorted([ANNA, BOB])
        await flush(shell)
        (told,) = changes(anna[1])
        assert (told["since"], told["version"], told["count"]) == (first, result["roster"]["version"], 2)
        assert ids(told["joined"]) == [BOB]
        assert changes(bob[1]) == [], "the reply had it"
        shell.clock.advance(2)  # R4: once a second
        await shell.inner.registry.update_participant(UpdateRequest(app=APP, participant_id=BOB, name="Bob"))
        await flush(shell)
        assert [one["name"] for one in changes(anna[1])[-1]["changed"]] == ["Bob"]
        assert [one["name"] for one in changes(bob[1])[-1]["changed"]] == ["Bob"]
        await result_of(shell, bob, "rooms.leave", room=ROOM)
        await flush(shell)
        assert changes(anna[1])[-1]["left"] == [[BOB, "left"]]
        assert len(changes(bob[1])) == 1, "leaving ends the watch"


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
        (told,) = changes(watchers[0][1])
        assert sorted(ids(told["joined"])) == sorted([BOB, CAROL])
        assert {one["id"]: one.get("sessions", 1) for one in told["joined"]} == {BOB: 4, CAROL: 1}


async def test_a_room_is_subscribed_to_while_somebody_needs_it() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        watched = cast(Any, shell.inner.bus)._rooms
        await join(shell, anna)
        await result_of(shell, bob, "rooms.watch", rooms=[ROOM, "empty"])
        assert dict(watched) == {(APP, ROOM): 1, (APP, "empty"): 1}
        await result_of(shell, bob, "rooms.unwatch", rooms=["empty"])
        await result_of(shell, anna, "rooms.leave", room=ROOM)
        assert dict(watched) == {(APP, ROOM): 1}
        assert node_room(shell).members == {}
        bob[0].lost(1006, "")
        await shell.settle()
        assert (dict(watched), len(shell.hub.rooms)) == ({}, 0)


async def test_sessions_in_no_room_cost_the_hub_nothing() -> None:
    async with running_shell() as shell:
        connection, _ = await shell.open("anna")
        assert (connection.context.rooms, len(shell.hub.rooms)) == (None, 0)
        connection.lost(1006, "")
        await shell.settle()
        assert (connection.context.rooms, len(shell.hub.rooms)) == (None, 0)


async def test_r5_a_node_answers_from_its_own_copy() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        version = (await result_of(shell, bob, "rooms.watch", rooms=[ROOM]))["rosters"][0]["version"]
        shell.inner.rooms.roster = None  # type: ignore[assignment, method-assign]
        carol = await shell.open("carol")
        (roster,) = (await result_of(shell, carol, "rooms.watch", rooms=[ROOM]))["rosters"]
        assert (ids(roster["members"]), roster["version"]) == ([ANNA], version)
        again = await result_of(shell, carol, "rooms.watch", known=[[ROOM, version]])
        assert again["rosters"] == []


async def test_r5_a_change_that_does_not_follow_makes_the_node_read_again() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        room = node_room(shell)
        assert room.roster is not None
        shell.hub.rooms._rooms.pop(room.key)  # deaf for a while
        await join(shell, bob)
        shell.hub.rooms._rooms[room.key] = room
        far = room.roster.version + 10**9
        shell.hub.room_changed(RosterChange(app=APP, room=ROOM, since=far, version=far + 1, count=2))
        await flush(shell)
        assert ids(changes(anna[1])[-1]["joined"]) == [BOB]


async def test_s13_what_may_have_been_missed_is_read_again() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        room = node_room(shell)
        shell.hub.rooms._rooms.pop(room.key)
        await join(shell, bob)
        shell.hub.rooms._rooms[room.key] = room
        shell.listener.lost(())
        await flush(shell)
        assert ids(changes(anna[1])[-1]["joined"]) == [BOB]


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
        (told,) = changes(anna[1])
        assert (ids(told["joined"]), told["left"], told["count"]) == ([CAROL], [[BOB, "left"]], 2)
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
        rooms = shell.hub.rooms
        assert bob[1].notifications("rooms.message") == []
        fits = WAITING_BYTES // (size + 100)
        assert (rooms.messages_sent, rooms.messages_missed) == (6, {"slow": 6 - fits, "away": 0})
        bob[1].paused = False
        bob[0].drained()
        received = bob[1].notifications("rooms.message")
        assert (len(received), [one["number"] for one in received]) == (
            fits, sorted(one["number"] for one in received),
        )  # fmt: skip
        assert bob[1].notifications("rooms.missed") == [{"room": ROOM, "count": 6 - fits}]
        assert not bob[1].closed
        assert (rooms.messages_sent, rooms.messages_missed["away"]) == (6 + fits, 0)
        bob[1].paused = True
        await result_of(shell, anna, "rooms.send", room=ROOM, messageId="last", message="for nobody")
        await shell.settle()
        bob[0].lost(1006, "")
        await shell.settle()
        assert (rooms.messages_sent, rooms.messages_missed) == (7 + fits, {"slow": 6 - fits, "away": 1})


async def test_changes_that_are_sent_are_counted() -> None:
    async with running_shell() as shell:
        people = [await shell.open(name) for name in ("anna", "bob", "carol")]
        for one in people:
            await join(shell, one)
            await flush(shell)
        sent = sum(len(changes(link)) for _, link in people)
        assert (shell.hub.rooms.changes_sent, sent) == (sent, 3)


async def test_r8_a_kick_by_the_backend_reaches_the_session() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        for one in (anna, bob):
            await join(shell, one)
        await shell.calls.room_control.moderate(KickMember(app=APP, room=ROOM, participant_id=BOB))
        await flush(shell)
        assert bob[1].notifications("rooms.left") == [{"room": ROOM, "reason": "kicked"}]
        assert changes(anna[1])[-1]["left"] == [[BOB, "kicked"]]
        assert bob[0] not in node_room(shell).members
        assert (await ask(shell, bob, "rooms.join", room=ROOM))["error"]["code"] == ErrorCode.KEPT_OUT


async def test_r8_who_opened_the_room_kicks() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        for one in (anna, bob):
            await join(shell, one)
        refused = await ask(shell, bob, "rooms.kick", room=ROOM, participantId=ANNA)
        assert refused["error"]["code"] == ErrorCode.ROOM_PERMISSION_MISSING
        await result_of(shell, anna, "rooms.kick", room=ROOM, participantId=BOB)
        await shell.settle()
        assert bob[1].notifications("rooms.left") == [{"room": ROOM, "reason": "kicked"}]


async def test_r11_members_of_an_ended_room_are_told() -> None:
    async with running_shell() as shell:
        anna = await shell.open("anna")
        await join(shell, anna)
        await shell.calls.room_control.moderate(EndRoom(app=APP, room=ROOM))
        shell.calls.room_control.notify_lost((await shell.inner.rooms.settle()).lost)
        await flush(shell)
        assert anna[1].notifications("rooms.left") == [{"room": ROOM, "reason": "ended"}]


async def test_r9_invitations_arrive_and_are_answered() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        await result_of(shell, anna, "rooms.invite", room=ROOM, externalIds=["bob", "carol"], text="Come")
        await shell.settle()
        (told,) = bob[1].notifications("rooms.invited")
        assert (told["invitation"]["room"], told["invitation"]["inviter"], told["invitation"]["text"]) == (
            ROOM, ANNA, "Come",
        )  # fmt: skip
        await result_of(shell, bob, "rooms.answer", invitationId=told["invitation"]["id"], accept=False)
        await shell.settle()
        (answered,) = anna[1].notifications("rooms.answered")
        assert (answered["participantId"], answered["accepted"]) == (BOB, False)
        again = await result_of(shell, bob, "rooms.answer", invitationId=told["invitation"]["id"], accept=False)
        await shell.settle()
        assert (again, len(anna[1].notifications("rooms.answered"))) == ({}, 1)
        connection, link = shell.dial()
        shell.say(connection, "session.open", token="carol", openId="open id of carol", resumeSecret=SECRET)
        await shell.settle()
        waiting = link.messages[0]["result"]["invitations"]
        assert [(one["room"], one["text"]) for one in waiting] == [(ROOM, "Come")]


async def test_a_command_that_overtakes_the_attach_is_carried_out_after_it() -> None:
    async with running_shell() as shell:
        anna = await shell.open("anna")
        await join(shell, anna)
        owner = anna[0].context.owner
        assert owner is not None
        invitation = Invitation(id="i1", room="lunch", inviter="", created_at=1, expires_at=2)
        later = owner.generation + 1
        shell.hub.command(RoomLeftCommand(session_id=owner.session_id, generation=later, room=ROOM, reason="kicked"))
        shell.hub.command(InvitedCommand(session_id=owner.session_id, generation=later, invitation=invitation))
        assert anna[1].notifications("rooms.left") == []
        anna[0].lost(1006, "")
        connection, link = shell.dial()
        shell.say(
            connection, "session.resume", sessionId=owner.session_id, resumeSecret=SECRET, nextSecret=NEXT_SECRET,
            attempt=1,
        )  # fmt: skip
        await shell.settle()
        assert link.messages[0]["result"]["rooms"] == [ROOM]
        assert link.notifications("rooms.left") == [{"room": ROOM, "reason": "kicked"}]
        assert [one["invitation"]["id"] for one in link.notifications("rooms.invited")] == ["i1"]


async def test_a_kick_of_an_earlier_attachment_is_not_one_of_this() -> None:
    async with running_shell() as shell:
        anna = await shell.open("anna")
        await join(shell, anna)
        owner = anna[0].context.owner
        assert owner is not None
        command = RoomLeftCommand(
            session_id=owner.session_id, generation=owner.generation - 1, room=ROOM, reason="kicked"
        )
        shell.hub.command(command)
        assert anna[1].notifications("rooms.left") == []


async def test_r1_a_resumed_session_is_the_same_member() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, bob)
        await flush(shell)
        roster = (await join(shell, anna))["roster"]
        since = {one["id"]: one["joinedAt"] for one in roster["members"]}
        owner = anna[0].context.owner
        assert owner is not None
        anna[0].lost(1006, "")
        carol = await shell.open("carol")
        await join(shell, carol)
        await flush(shell)
        connection, link = shell.dial()
        shell.say(
            connection, "session.resume", sessionId=owner.session_id, resumeSecret=SECRET, nextSecret=NEXT_SECRET,
            attempt=1, watchingRooms=[[ROOM, roster["version"]]],
        )  # fmt: skip
        for _ in range(100):
            await asyncio.sleep(0.001)
        result = link.messages[0]["result"]
        assert (result["rooms"], "lostRooms" in result) == ([ROOM], False)
        (differing,) = result["rosters"]
        assert (differing["since"], ids(differing["members"])) == (roster["version"], [CAROL])
        await result_of(shell, bob, "rooms.send", room=ROOM, messageId="m1", message=1)
        await shell.settle()
        assert len(link.notifications("rooms.message")) == 1
        found = await shell.inner.rooms.roster(RosterQuery(app=APP, room=ROOM))
        assert {one.id: one.joined_at for one in found.members}.items() >= since.items()
        left = [entry for told in changes(bob[1]) for entry in told.get("left", ())]
        assert left == []


async def test_rosters_of_a_reply_stay_small() -> None:
    """Several rosters share what one may take; the rest comes by page."""
    async with running_shell() as shell:
        anna = await shell.open("anna")
        for number in range(40):
            shell.services.tokens[f"guest {number}"] = shell.services.tokens["anna"].__class__(
                issued_at=shell.clock.now_ms() // 1000, expires_at=shell.clock.now_ms() // 1000 + 3600,
                jti=f"jti-guest-{number}",
            )  # fmt: skip
            guest = await shell.open(f"guest {number}", participant={"name": "x" * 200}, openId=f"open id {number:016}")
            for room in ("one", "two", "three"):
                await join(shell, guest, room)
        reply = await ask(shell, anna, "rooms.watch", rooms=["one", "two", "three", "four"])
        rosters = reply["result"]["rosters"]
        assert [one["count"] for one in rosters] == [40, 40, 40, 0]
        assert len(msgspec.json.encode(reply)) <= 64 * 1024
        seen: set[str] = set()
        cursor = None
        for _ in range(40):
            page = await result_of(shell, anna, "rooms.members", room="one", **({"cursor": cursor} if cursor else {}))
            seen |= set(ids(page["members"]))
            cursor = page.get("cursor")
            if cursor is None:
                break
        assert len(seen) == 40


async def test_a_subscription_that_failed_is_tried_again() -> None:
    async with running_shell() as shell:
        anna = await shell.open("anna")
        shell.away = True
        refused = await ask(shell, anna, "rooms.join", room=ROOM)
        assert refused["error"]["code"] == ErrorCode.SERVICE_UNAVAILABLE
        assert len(shell.hub.rooms) == 0
        shell.away = False
        assert (await join(shell, anna))["watching"]
        assert node_room(shell).is_subscribed


async def test_a_join_whose_client_is_gone_leaves_no_room_behind() -> None:
    async with running_shell() as shell:
        anna = await shell.open("anna")
        shell.say(anna[0], "rooms.join", 9, room=ROOM)
        anna[0].lost(1006, "")
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert len(shell.hub.rooms) == 0
        assert dict(cast(Any, shell.inner.bus)._rooms) == {}


async def test_r5_a_join_is_answered_with_the_node_s_copy() -> None:
    async with running_shell() as shell:
        await join(shell, await shell.open("anna"))
        rooms, asked = cast(Any, shell.inner.rooms), []
        read = rooms.roster

        async def roster(query: RosterQuery) -> Roster:
            asked.append(query.limit)
            found: Roster = await read(query)
            return found

        rooms.roster = roster
        result = await join(shell, await shell.open("bob"))
        assert sorted(ids(result["roster"]["members"])) == sorted([ANNA, BOB])
        assert result["roster"]["id"] == (await read(RosterQuery(app=APP, room=ROOM))).record.id
        assert asked == [], "the engine was asked for nothing but the join"


async def test_r5_a_join_of_a_large_room_is_answered_with_the_first_page_of_the_copy() -> None:
    async with running_shell() as shell:
        first: dict[str, Any] = {}
        for number in range(60):
            user = f"guest {number}"
            shell.services.tokens[user] = msgspec.structs.replace(
                shell.services.tokens["bob"], external_id=user, participant_id=participant_id_of(NAMESPACE, user)
            )
            guest = await shell.open(user, participant={"name": "x" * 100, "avatarUrl": "https://x/" + "y" * 900})
            first = await join(shell, guest)
        rooms = cast(Any, shell.inner.rooms)
        assert first["roster"]["count"] == 60
        assert len(msgspec.json.encode(first)) <= 64 * 1024
        seen = ids(first["roster"]["members"])
        assert 30 < len(seen) < 60
        cursor = first["roster"]["cursor"]
        while cursor is not None:
            page = await rooms.roster(RosterQuery(app=APP, room=ROOM, cursor=cursor))
            seen += [member.id for member in page.members]
            cursor = page.cursor
        assert len(seen) == 60
        assert seen == sorted(seen), "the engine goes on where the copy's page ends"


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
        assert [ids(told["joined"]) for told in changes(anna[1])] == [[BOB]]


async def test_r5_what_nobody_watched_yet_is_not_told_again_with_the_next_change() -> None:
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
            (told,) = changes(link)[held[link] :]
            assert ids(told["joined"]) == [CAROL]
            assert "changed" not in told


async def test_many_rooms_that_change_in_one_instant_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_shell() as shell:
        names = [f"room {number}" for number in range(12)]
        anna, bob = await shell.open("anna"), await shell.open("bob")
        for name in names:
            await result_of(shell, anna, "rooms.watch", rooms=[name])
        rooms = shell.hub.rooms
        monkeypatch.setattr(rooms, "_flush", lambda: None)
        joined = {name: (await join(shell, bob, name))["roster"]["version"] for name in names}
        monkeypatch.undo()
        rooms._batcher._due = [(0.0, key) for _, key in rooms._batcher._due]
        rooms._left_in_turn = 10
        rooms._flush()
        assert 0 < len(changes(anna[1])) < 6, "a frame costs as much as some connections"
        await flush(shell)
        assert {told["room"]: told["version"] for told in changes(anna[1])} == joined


async def test_a_join_that_the_node_does_not_hear_of_is_answered_by_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_shell() as shell:
        await join(shell, await shell.open("anna"))
        bob = await shell.open("bob")
        monkeypatch.setattr(node_rooms, "COPY_SECONDS", 0.01)
        monkeypatch.setattr(shell.hub.rooms, "changed", lambda change: None)
        result = await join(shell, bob)
        assert sorted(ids(result["roster"]["members"])) == sorted([ANNA, BOB])


async def test_the_id_of_a_room_that_opened_later_is_in_every_roster() -> None:
    async with running_shell() as shell:
        watcher, anna, bob = await shell.open("carol"), await shell.open("anna"), await shell.open("bob")
        (roster,) = (await result_of(shell, watcher, "rooms.watch", rooms=[ROOM]))["rosters"]
        assert ("id" in roster, roster["count"]) == (False, 0)
        room_id = (await join(shell, anna))["roster"]["id"]
        assert (await join(shell, bob))["roster"]["id"] == room_id
        (roster,) = (await result_of(shell, watcher, "rooms.watch", rooms=[ROOM]))["rosters"]
        assert (roster["id"], roster["count"]) == (room_id, 2)
        assert (await result_of(shell, watcher, "rooms.find", roomId=room_id)) == {"room": ROOM}
        for one in (anna, bob):
            await result_of(shell, one, "rooms.leave", room=ROOM)
        again = (await join(shell, anna))["roster"]["id"]
        assert again != room_id
        (roster,) = (await result_of(shell, watcher, "rooms.watch", rooms=[ROOM]))["rosters"]
        assert (roster["id"], roster["count"]) == (again, 1)


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
        told = changes(anna[1])[-1]
        room_id = roster["id"]
        assert told == {"room": ROOM, "version": roster["version"], "since": 0, "count": 2, "id": room_id}
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
