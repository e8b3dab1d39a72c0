"""Rooms against the real service: three clients on real sockets, a real database file, and a service that restarts."""

from __future__ import annotations

import time
from typing import Any

import pytest

from greenroom.codes import ErrorCode
from greenroom.core.rooms.requests import KickMember
from greenroom.model import RoomGrant, RoomSettings
from tests.server.harness import Client, RefusedError, running_service
from tests.support.patience import until

ROOM = "stand-up"


def ids(members: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in members]


async def joined(client: Client, wanted: int) -> dict[str, Any]:
    """The change after which there are so many members."""
    while True:
        change = await client.notified("rooms.changed")
        if change["count"] == wanted:
            return change


async def test_a_room_from_its_first_member_to_its_last() -> None:
    async with running_service() as running:
        app = await running.new_application()
        who = {name: app.participant_id(name) for name in ("anna", "bob", "carol")}
        async with running.connect() as anna, running.connect() as bob, running.connect() as carol:
            for name, client in (("anna", anna), ("bob", bob), ("carol", carol)):
                await client.open(app.token(name), participant={"name": name.title()})
            roster = (await anna.call("rooms.join", room=ROOM))["roster"]
            assert (roster["count"], [one["name"] for one in roster["members"]]) == (1, ["Anna"])
            await bob.call("rooms.join", room=ROOM)
            change = await joined(anna, 2)
            assert (ids(change["joined"]), change["since"]) == ([who["bob"]], roster["version"])
            roster = (await carol.call("rooms.join", room=ROOM))["roster"]
            assert sorted(ids(roster["members"])) == sorted(who.values())
            await joined(anna, 3)
            await joined(bob, 3)

            await anna.call("rooms.send", room=ROOM, messageId="m1", message={"hand": "up"})
            for client in (bob, carol):
                message = await client.notified("rooms.message")
                assert (message["from"], message["message"]) == (who["anna"], {"hand": "up"})

            await anna.call("rooms.kick", room=ROOM, participantId=who["bob"], seconds=30)
            assert await bob.notified("rooms.left") == {"room": ROOM, "reason": "kicked"}
            assert (await joined(carol, 2))["left"] == [[who["bob"], "kicked"]]
            with pytest.raises(RefusedError) as refused:
                await bob.call("rooms.join", room=ROOM)
            assert refused.value.code == ErrorCode.KEPT_OUT
            assert refused.value.data["until"] > time.time() * 1000

            await carol.call("rooms.leave", room=ROOM)
            assert (await joined(anna, 1))["left"] == [[who["carol"], "left"]]
            await anna.call("session.close")
        async with running.connect() as client:
            await client.open(app.token("carol"))
            (roster,) = (await client.call("rooms.watch", rooms=[ROOM]))["rosters"]
            assert (roster["count"], "members" in roster) == (0, False)


async def test_a_session_that_comes_back_is_the_same_member_also_after_a_restart() -> None:
    async with running_service() as running:
        app = await running.new_application()
        carol_id = app.participant_id("carol")
        async with running.connect() as anna:
            opened = await anna.open(app.token("anna"))
            roster = (await anna.call("rooms.join", room=ROOM))["roster"]
            since = roster["members"][0]["joinedAt"]
            await anna.drop()
        async with running.connect() as carol:
            carols = await carol.open(app.token("carol"))
            await carol.call("rooms.join", room=ROOM)
            await carol.call("ping")
            async with running.connect() as anna:
                back = await anna.resume(opened, watchingRooms=[[ROOM, roster["version"]]])
                assert back.result["rooms"] == [ROOM]
                (differing,) = back.result["rosters"]
                assert (differing["since"], ids(differing["members"])) == (roster["version"], [carol_id])
                version = differing["version"]
                await anna.call("ping")
                await running.restart()
                async with running.connect() as again:
                    back = await again.resume(opened, watchingRooms=[[ROOM, version]])
                    assert back.result["rooms"] == [ROOM]
                    async with running.connect() as other:
                        result = (await other.resume(carols, watchingRooms=[[ROOM, version]])).result
                        assert (result["rooms"], "lostRooms" in result) == ([ROOM], False)
                        (whole,) = (await other.call("rooms.watch", rooms=[ROOM]))["rosters"]
                        joins = {one["id"]: one["joinedAt"] for one in whole["members"]}
                        assert joins[app.participant_id("anna")] == since
                        await other.call("rooms.send", room=ROOM, messageId="m1", message=1)
                        assert (await again.notified("rooms.message"))["from"] == carol_id
                        events = [
                            event.type
                            for event in (await running.service.engine.outbox.read(app.key, None, limit=100)).items
                            if event.type.startswith("room.")
                        ]
                        assert events == ["room.opened", "room.joined", "room.joined"], "nobody left"


async def test_a_room_that_was_lost_while_away_is_reported_at_the_resume() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as anna:
            opened = await anna.open(app.token("anna"))
            await anna.call("rooms.join", room=ROOM)
            await anna.drop()
        await until(lambda: not running.service.hub.sessions)
        await running.service.rooms.moderate(
            KickMember(app=app.key, room=ROOM, participant_id=app.participant_id("anna"))
        )
        async with running.connect() as anna:
            result = (await anna.resume(opened)).result
            assert ("rooms" in result, result["lostRooms"]) == (False, [[ROOM, "kicked"]])


async def test_r7_tokens_grant_rooms_and_invitations_do_while_they_last() -> None:
    async with running_service() as running:
        app = await running.new_application(rooms=RoomSettings(access="granted"))
        host = app.token("anna", rooms=[RoomGrant(name="team-*", can=("join", "watch", "send", "invite", "kick"))])
        async with running.connect() as anna, running.connect() as bob:
            await anna.open(host)
            await bob.open(app.token("bob"))
            await anna.call("rooms.join", room="team-1")
            for room in ("team-1", "no such room"):
                with pytest.raises(RefusedError) as refused:
                    await bob.call("rooms.join", room=room)
                assert (refused.value.code, refused.value.data["permission"]) == (
                    ErrorCode.ROOM_PERMISSION_MISSING, "join",
                )  # fmt: skip
            await anna.call("rooms.invite", room="team-1", externalIds=["bob", "nobody"])
            invitation = (await bob.notified("rooms.invited"))["invitation"]
            await bob.call("rooms.answer", invitationId=invitation["id"], accept=True)
            assert (await anna.notified("rooms.answered"))["accepted"]
            result = await bob.call("rooms.join", room="team-1")
            assert (result["watching"], result["roster"]["count"]) == (True, 2)
            await bob.call("rooms.send", room="team-1", messageId="m1", message="hello")
            assert (await anna.notified("rooms.message"))["message"] == "hello"
            fewer = app.token("anna", rooms=[RoomGrant(name="team-2", can=("join",))])
            await anna.call("session.refreshToken", token=fewer)
            assert await anna.notified("rooms.left") == {"room": "team-1", "reason": "permission_lost"}
            assert (await joined(bob, 1))["left"] == [[app.participant_id("anna"), "permission_lost"]]
