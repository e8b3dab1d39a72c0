"""What a session asks about rooms: what the engine is asked, and what the reply says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.rooms.names import MAX_ROOMS_OF_SESSION, MAX_WATCHED_ROOMS
from greenroom.core.rooms.requests import (
    AnswerInvitation,
    CreateRoom,
    InviteParticipants,
    JoinRoom,
    LeaveRoom,
    RoomLimits,
    RoomPage,
    RoomQuery,
    RosterQuery,
    SendMessage,
    UnwatchRooms,
    WatchRooms,
)
from greenroom.errors import KeptOutError, RoomFullError, ServiceUnavailableError
from greenroom.model import RoomSettings, partition_of_room
from tests.core.server.rig import ANNA, APP, BOB, Rig
from tests.core.server.room_rig import RECORD, ROOM, invitation, joined, rooms_of, roster, touched_by, watched_by


def test_a_session_in_no_room_keeps_nothing_of_rooms() -> None:
    rig = Rig().open()
    rig.send("participants.get", ids=[BOB])
    assert rig.machine.context.rooms is None


def test_join_asks_the_engine_and_answers_with_the_roster() -> None:
    rig = Rig()
    rig.services.settings(rooms=RoomSettings(max_members=5, max_rooms=6, detailed_members=3, roster_attributes=("x",)))
    rig.open()
    number = rig.send("rooms.join", room=ROOM)
    request = rig.requests[-1]
    assert isinstance(request, JoinRoom)
    assert (request.app, request.participant_id, request.room, request.owner) == (APP, ANNA, ROOM, rig.owner)
    assert request.room_id.startswith(f"r{partition_of_room(APP, ROOM)}-")
    assert request.limits == RoomLimits(members=5, rooms=6, detailed_members=3, roster_attributes=("x",))
    rig.answer(roster())
    result = rig.result(number)
    assert result["watching"]
    assert (result["roster"]["version"], result["roster"]["count"], result["roster"]["id"]) == (7, 2, "r1-00")
    assert [one["id"] for one in result["roster"]["members"]] == [ANNA, BOB]
    assert rooms_of(rig) == [ROOM]
    assert (watched_by(rig), touched_by(rig)) == ({ROOM: 7}, (ROOM,))


def test_a_refused_join_leaves_nothing_behind() -> None:
    for error in (KeptOutError(until=5), RoomFullError(), ServiceUnavailableError()):
        rig = Rig().open()
        number = rig.send("rooms.join", room=ROOM)
        rig.answer(error)
        assert rig.error(number) == error.code
        assert (rooms_of(rig), watched_by(rig)) == ([], {})


def test_leaving_ends_the_watch() -> None:
    rig = joined(Rig().open())
    number = rig.send("rooms.leave", room=ROOM)
    assert rig.requests[-1] == LeaveRoom(app=APP, participant_id=ANNA, room=ROOM, owner=rig.owner)
    rig.answer(None)
    assert rig.result(number) == {}
    assert (rooms_of(rig), watched_by(rig)) == ([], {})


def test_create_opens_an_empty_room() -> None:
    rig = Rig().open(scopes=("conf:create", "notifications:set"))
    number = rig.send("rooms.create", room=ROOM, ttl=30, detailed=False)
    request = rig.requests[-1]
    assert isinstance(request, CreateRoom)
    assert (request.opened_by, request.owner, request.ttl, request.detailed) == (ANNA, rig.owner, 30.0, False)
    rig.answer(roster(members=(), count=0, detailed=False))
    assert rig.result(number) == {
        "roster": {"room": ROOM, "version": 7, "count": 0, "detailed": False, "id": "r1-00"}, "watching": False,
    }  # fmt: skip
    assert rooms_of(rig) == []
    assert rig.error(rig.send("rooms.create", room=ROOM, ttl=601)) == ErrorCode.ILLEGAL_ARGUMENT


def test_watch_answers_what_differs() -> None:
    rig = Rig().open()
    number = rig.send("rooms.watch", rooms=["a"], known=[["b", 3], ["c", 4]])
    assert rig.requests[-1] == WatchRooms(app=APP, rooms=("a", "b", "c"), known={"b": 3, "c": 4})
    differing = roster("b", 5, members=(), left=(BOB,), since=3, count=1)
    rig.answer([roster("a", 2), differing, roster("c", 4, members=(), since=4)])
    rosters = rig.result(number)["rosters"]
    assert [(one["room"], one["version"]) for one in rosters] == [("a", 2), ("b", 5)]
    assert (rosters[1]["since"], rosters[1]["left"]) == (3, [BOB])
    assert watched_by(rig) == {"a": 2, "b": 5, "c": 4}
    rig.send("rooms.unwatch", rooms=["a", "z"])
    assert rig.requests[-1] == UnwatchRooms(APP, ("a",))
    rig.answer(None)
    assert rig.error(rig.send("rooms.watch")) == ErrorCode.ILLEGAL_ARGUMENT


def test_a_watch_that_failed_is_none() -> None:
    rig = Rig().open()
    rig.send("rooms.watch", rooms=["a"])
    rig.answer(ServiceUnavailableError())
    assert watched_by(rig) == {}


def test_pages_and_names() -> None:
    rig = Rig().open()
    number = rig.send("rooms.members", room=ROOM, cursor="c")
    assert rig.requests[-1] == RosterQuery(app=APP, room=ROOM, cursor="c")
    rig.answer(roster(cursor="d"))
    result = rig.result(number)
    assert (result["version"], result["count"], result["cursor"], len(result["members"])) == (7, 2, "d", 2)
    number = rig.send("rooms.find", roomId="r1-00")
    assert rig.requests[-1] == RoomQuery(app=APP, room_id="r1-00", limit=1)
    rig.answer(RoomPage((RECORD,)))
    assert rig.result(number) == {"room": ROOM}
    number = rig.send("rooms.find", roomId="r1-01")
    rig.answer(RoomPage(()))
    assert rig.error(number) == ErrorCode.NOT_FOUND


def test_send_needs_membership() -> None:
    rig = Rig().open()
    assert rig.error(rig.send("rooms.send", room=ROOM, messageId="m1", message=1)) == ErrorCode.NOT_A_MEMBER
    joined(rig)
    number = rig.send("rooms.send", room=ROOM, messageId="m1", message={"hand": "up"}, to=[BOB, BOB])
    request = rig.requests[-1]
    assert isinstance(request, SendMessage)
    assert (request.sender, request.session_id, request.to, request.message_id) == (ANNA, "p1-01", (BOB,), "m1")
    assert msgspec.json.decode(request.message) == {"hand": "up"}
    rig.answer(12)
    assert rig.result(number) == {}
    for bad in ({"message": "x" * 16_400}, {"messageId": ""}, {"to": [""]}, {"to": [f"p{n}" for n in range(101)]}):
        params: dict[str, Any] = {"room": ROOM, "messageId": "m2", "message": 1, **bad}
        assert rig.error(rig.send("rooms.send", **params)) == ErrorCode.ILLEGAL_ARGUMENT, bad


def test_r9_members_invite_by_either_id() -> None:
    rig = Rig().open()
    assert rig.error(rig.send("rooms.invite", room=ROOM, participantIds=[BOB])) == ErrorCode.NOT_A_MEMBER
    joined(rig)
    number = rig.send("rooms.invite", room=ROOM, participantIds=["p-7", BOB], externalIds=["bob"], text="Come")
    assert rig.requests[-1] == InviteParticipants(
        app=APP, room=ROOM, inviter=ANNA, inviter_name="Anna", invitees=("p-7", BOB), text="Come"
    )
    rig.answer(None)
    assert rig.result(number) == {}
    assert rig.services.invitations == 2
    assert rig.error(rig.send("rooms.invite", room=ROOM)) == ErrorCode.ILLEGAL_ARGUMENT
    long = rig.send("rooms.invite", room=ROOM, participantIds=[BOB], text="ü" * 513)
    assert rig.error(long) == ErrorCode.ILLEGAL_ARGUMENT
    rig.services.bad.add(ANNA)
    assert rig.error(rig.send("rooms.invite", room=ROOM, participantIds=[BOB])) == ErrorCode.RATE_LIMITED


def test_answers_to_invitations() -> None:
    rig = Rig().open()
    number = rig.send("rooms.answer", invitationId="i1", accept=True)
    assert rig.requests[-1] == AnswerInvitation(
        app=APP, participant_id=ANNA, owner=rig.owner, invitation_id="i1", accept=True
    )
    rig.answer(invitation())
    assert rig.result(number) == {}


def test_r12_limits_of_a_session() -> None:
    rig = Rig().open()
    for number in range(MAX_ROOMS_OF_SESSION):
        joined(rig, f"room-{number}")
    assert rig.error(rig.send("rooms.join", room="one more")) == ErrorCode.ROOM_LIMIT_REACHED
    joined(rig, "room-0", version=9)
    watched = [f"watched-{number}" for number in range(MAX_WATCHED_ROOMS - MAX_ROOMS_OF_SESSION)]
    rig.send("rooms.watch", rooms=watched)
    rig.answer([roster(one) for one in watched])
    rig.pass_alive(5)
    number = rig.send("rooms.watch", rooms=["one more", "room-1"])
    assert rig.error(number) == ErrorCode.ROOM_LIMIT_REACHED
    assert "one more" not in watched_by(rig)


def test_r12_joins_of_a_participant_are_counted() -> None:
    rig = joined(Rig().open())
    assert rig.services.joins == [ANNA]
    rig.services.bad.add(ANNA)
    assert rig.error(rig.send("rooms.join", room="another")) == ErrorCode.RATE_LIMITED


@pytest.mark.parametrize("room", ["", "a\nb", "x" * 251])
def test_names_that_no_room_may_have(room: str) -> None:
    rig = Rig().open(scopes=("*",))
    for method, params in (
        ("join", {}), ("leave", {}), ("create", {}), ("members", {}), ("send", {"messageId": "m", "message": 1}),
        ("invite", {"participantIds": [BOB]}), ("kick", {"participantId": BOB}),
    ):  # fmt: skip
        assert rig.error(rig.send(f"rooms.{method}", room=room, **params)) == ErrorCode.ILLEGAL_ARGUMENT, method
    assert rig.error(rig.send("rooms.watch", rooms=[room])) == ErrorCode.ILLEGAL_ARGUMENT
    assert rig.calls == []
