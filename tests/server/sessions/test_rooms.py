"""Rooms on one node: subscriptions, copies of rosters, and what joins and resumes are answered with."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.commands import InvitedCommand, RoomLeftCommand
from greenroom.core.requests import UpdateRequest
from greenroom.core.rooms.requests import Roster, RosterQuery
from greenroom.core.rooms.watching import WatchedRoster
from greenroom.engines.rooms import RosterChange
from greenroom.model import Invitation, participant_id_of
from greenroom.server.sessions import rooms as node_rooms
from greenroom.server.sessions.rooms import NodeRoom
from tests.core.server.rig import APP, NAMESPACE, NEXT_SECRET, SECRET
from tests.core.server.room_rig import roster
from tests.server.room_clients import ANNA, BOB, CAROL, ROOM, ask, changes, flush, ids, join, node_room, result_of
from tests.server.shell import running_shell


async def test_members_see_who_comes_changes_and_goes() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        result = await join(shell, anna)
        assert (ids(result["roster"]["members"]), result["watching"]) == ([ANNA], True)
        first = result["roster"]["version"]
        result = await join(shell, bob)
        assert sorted(ids(result["roster"]["members"])) == sorted([ANNA, BOB])
        await flush(shell)
        (notice,) = changes(anna[1])
        assert (notice["since"], notice["version"], notice["count"]) == (first, result["roster"]["version"], 2)
        assert ids(notice["joined"]) == [BOB]
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


async def test_a_room_is_subscribed_to_while_someone_needs_it() -> None:
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


async def test_changes_that_come_while_a_roster_cannot_be_read_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        rooms, room, read = shell.hub.rooms, node_room(shell), shell.inner.rooms.roster
        answers = asyncio.get_running_loop().create_future()

        async def later(query: RosterQuery) -> Roster:
            await answers
            return await read(query)

        monkeypatch.setattr(shell.inner.rooms, "roster", later)
        monkeypatch.setattr(node_rooms, "MOST_EARLY", 10)
        assert room.roster is not None
        version = room.roster.version + 1
        for number in range(95):  # the first does not follow on what is held
            since = version + number
            change = RosterChange(app=APP, room=ROOM, version=since + 1, since=since, count=1)
            rooms.changed(change)
            assert len(room.early) <= 10
        answers.set_result(None)
        await shell.settle()
        assert rooms.is_unread, "it is read again with the next beat"
        await rooms.read_again(None)
        await join(shell, bob)
        await flush(shell)
        assert room.early == []
        assert room.roster._ids == sorted([ANNA, BOB])


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


@pytest.mark.parametrize("known", ["ahead", "of a room that is forgotten"])
async def test_r5_a_roster_that_was_put_back_is_answered_whole_above_what_the_client_holds(known: str) -> None:
    """Nothing differed from the version it holds, as far as the node knew: who a failover lost stayed in its roster."""
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        version, members = 10**12, []
        if known == "ahead":
            version, members = (await join(shell, anna))["roster"]["version"] + 10**9, [ANNA]
        (roster,) = (await result_of(shell, bob, "rooms.watch", known=[[ROOM, version]]))["rosters"]
        assert (roster.get("since"), roster["version"], ids(roster.get("members", []))) == (None, version + 1, members)


async def test_r5_a_node_that_lags_behind_a_client_reads_again() -> None:
    async with running_shell() as shell:
        anna, bob, carol = await shell.open("anna"), await shell.open("bob"), await shell.open("carol")
        await join(shell, anna)
        room = node_room(shell)
        shell.hub.rooms._rooms.pop(room.key)  # deaf for a while
        version = (await join(shell, bob))["roster"]["version"]
        shell.hub.rooms._rooms[room.key] = room
        assert room.roster is not None
        assert room.roster.version < version
        assert (await result_of(shell, carol, "rooms.watch", known=[[ROOM, version]]))["rosters"] == []
        assert sorted(room.roster._ids) == sorted([ANNA, BOB])


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


@pytest.mark.interpreted
async def test_s13_a_read_that_began_before_the_change_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        rooms, room, read = shell.hub.rooms, node_room(shell), shell.inner.rooms.roster
        answered, handed_on = asyncio.Event(), asyncio.Event()

        async def slow(query: RosterQuery) -> Roster:
            found = await read(query)
            answered.set()
            await handed_on.wait()
            return found

        monkeypatch.setattr(shell.inner.rooms, "roster", slow)
        first = asyncio.create_task(rooms.read_again(None))
        await answered.wait()
        rooms._rooms.pop(room.key)
        await join(shell, bob)
        rooms._rooms[room.key] = room
        second = asyncio.create_task(rooms.read_again(None))
        await asyncio.sleep(0)
        handed_on.set()
        await asyncio.gather(first, second)
        assert rooms.is_unread, "it is read again with the next beat"
        await rooms.read_again(None)
        assert room.roster is not None
        assert room.roster._ids == sorted([ANNA, BOB])


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
        left = [entry for notice in changes(bob[1]) for entry in notice.get("left", ())]
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


async def test_a_join_whose_change_the_node_does_not_receive_is_answered_by_the_engine(
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


def test_a_room_is_needed_while_someone_is_there_watches_or_asks() -> None:
    room = NodeRoom(APP, ROOM)
    assert (room.key, room.is_needed) == ((APP, ROOM), False)
    room.asking = 1
    assert room.is_needed


async def test_a_copy_may_be_used_when_all_pages_were_read() -> None:
    room = NodeRoom(APP, ROOM)
    room.roster = WatchedRoster(roster(), 10)
    found = [room.has_copy]
    room.is_whole = True
    found.append(room.has_copy)
    room.reading = asyncio.create_task(asyncio.sleep(0))
    found.append(room.has_copy)
    await room.reading
    assert found == [False, True, False], "not before all pages, nor while it is read again"
