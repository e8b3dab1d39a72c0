"""What a session asks about rooms: who may what (R7), what the engine is asked, and what comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.requests import Attached, RefreshRequest
from greenroom.core.rooms.names import MAX_ROOMS_OF_SESSION, MAX_WATCHED_ROOMS
from greenroom.core.rooms.requests import (
    AnswerInvitation,
    CreateRoom,
    InviteParticipants,
    JoinRoom,
    KickMember,
    LeaveRoom,
    RoomLimits,
    RoomPage,
    RoomQuery,
    Roster,
    RosterQuery,
    SendMessage,
    UnwatchRooms,
    WatchRooms,
)
from greenroom.core.server.rooms import ROSTER_COST
from greenroom.errors import KeptOutError, RoomFullError, ServiceUnavailableError
from greenroom.model import Invitation, MemberRecord, RoomGrant, RoomRecord, RoomSettings, partition_of_room
from tests.core.server.rig import ANNA, APP, BOB, WALL, FakeServices, Rig, person, token_for

ROOM = "standup"
RECORD = RoomRecord(app=APP, name=ROOM, id="r1-00", count=2, version=7)


def roster(room: str = ROOM, version: int = 7, **fields: Any) -> Roster:
    values: dict[str, Any] = {"count": 2, "members": (MemberRecord(id=ANNA, name="Anna"), MemberRecord(id=BOB))}
    return Roster(room=room, version=version, record=RECORD, **{**values, **fields})


def grant(name: str, *can: str) -> RoomGrant:
    return RoomGrant(name=name, can=can)  # type: ignore[arg-type]


def granted(*grants: RoomGrant, **fields: Any) -> Rig:
    """An open session of an application that lists rooms in its tokens."""
    rig = Rig()
    rig.services.settings(rooms=RoomSettings(access="granted"))
    return rig.open(room_grants=grants, **fields)


def joined(rig: Rig, room: str = ROOM, **fields: Any) -> Rig:
    """The session is in the room."""
    number = rig.send("rooms.join", room=room)
    rig.answer(roster(room, **fields))
    rig.result(number)
    return rig


def invitation(one: str = "i1", room: str = ROOM, ends: float = 60.0) -> Invitation:
    return Invitation(id=one, room=room, inviter=BOB, inviter_name="Bob", invitee=ANNA, created_at=int(WALL * 1000),
                      expires_at=int((WALL + ends) * 1000))  # fmt: skip


def rooms_of(rig: Rig) -> list[str]:
    return [] if rig.machine.context.rooms is None else list(rig.machine.context.rooms.joined)


# -- requests ---------------------------------------------------------------------------------------------------------


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
    assert rig.machine.context.rooms is not None
    assert (rig.machine.context.rooms.watches.sent, rig.machine.context.rooms.touched) == ({ROOM: 7}, (ROOM,))


def test_a_refused_join_leaves_nothing_behind() -> None:
    for error in (KeptOutError(until=5), RoomFullError(), ServiceUnavailableError()):
        rig = Rig().open()
        number = rig.send("rooms.join", room=ROOM)
        rig.answer(error)
        assert rig.error(number) == error.code
        assert rig.machine.context.rooms is not None
        assert (rooms_of(rig), rig.machine.context.rooms.watches.sent) == ([], {})


def test_leaving_ends_the_watch() -> None:
    rig = joined(Rig().open())
    number = rig.send("rooms.leave", room=ROOM)
    assert rig.requests[-1] == LeaveRoom(app=APP, participant_id=ANNA, room=ROOM, owner=rig.owner)
    rig.answer(None)
    assert rig.result(number) == {}
    assert rig.machine.context.rooms is not None
    assert (rooms_of(rig), rig.machine.context.rooms.watches.sent) == ([], {})


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
    assert rig.machine.context.rooms is not None
    assert rig.machine.context.rooms.watches.sent == {"a": 2, "b": 5, "c": 4}
    rig.send("rooms.unwatch", rooms=["a", "z"])
    assert rig.requests[-1] == UnwatchRooms(APP, ("a",))
    rig.answer(None)
    assert rig.error(rig.send("rooms.watch")) == ErrorCode.ILLEGAL_ARGUMENT


def test_a_watch_that_failed_is_none() -> None:
    rig = Rig().open()
    rig.send("rooms.watch", rooms=["a"])
    rig.answer(ServiceUnavailableError())
    assert rig.machine.context.rooms is not None
    assert rig.machine.context.rooms.watches.sent == {}


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
    assert rig.machine.context.rooms is not None
    assert "one more" not in rig.machine.context.rooms.watches.sent


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


def test_s19_rosters_cost_as_much_as_participants() -> None:
    rig = Rig(FakeServices(ids_per_second=ROSTER_COST, ids_burst=2 * ROSTER_COST)).open()
    for room in ("a", "b"):
        joined(rig, room)
    number = rig.send("rooms.join", room="c")
    assert not isinstance(rig.requests[-1], JoinRoom) or rig.requests[-1].room != "c"
    rig.pass_alive(1.1)
    assert rig.requests[-1].room == "c"
    rig.answer(roster("c"))
    assert rig.result(number)["watching"]


# -- permissions ------------------------------------------------------------------------------------------------------


def test_r7_open_access() -> None:
    rig = Rig().open(scopes=())
    for method, params in (("watch", {"rooms": [ROOM]}), ("members", {"room": ROOM}), ("create", {"room": ROOM})):
        assert rig.error(rig.send(f"rooms.{method}", **params)) == ErrorCode.SCOPE_MISSING, method
    number = rig.send("rooms.join", room=ROOM)
    rig.answer(roster())
    result = rig.result(number)
    assert (result["watching"], "members" in result["roster"]) == (False, False), "who may not watch sees nobody"
    assert rooms_of(rig) == [ROOM]
    rig.send("rooms.kick", room=ROOM, participantId=BOB)
    request = rig.requests[-1]
    assert isinstance(request, KickMember)
    assert (request.by, request.may_kick, request.seconds) == (ANNA, False, 60.0), "the engine asks who opened it"


@pytest.mark.parametrize("permission", ["join", "watch", "send", "invite", "kick"])
def test_r7_granted_access(permission: str) -> None:
    """Each permission allows its methods and no other, in the rooms named and in no other, whatever the scopes."""
    methods: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
        "join": (("rooms.create", {}), ("rooms.join", {})),
        "watch": (("rooms.watch", {"rooms": [ROOM]}), ("rooms.members", {})),
        "send": (("rooms.send", {"messageId": "m", "message": 1}),),
        "invite": (("rooms.invite", {"participantIds": [BOB]}),),
        "kick": (("rooms.kick", {"participantId": BOB}),),
    }
    others = tuple(one for one in methods if one != permission)
    rig = granted(grant("stand*", permission), grant("other", *others), scopes=("*",), rooms=(ROOM, "other"))
    rig.machine.context.rooms = None
    for one, calls in methods.items():
        for method, params in calls:
            params = params if "rooms" in params else {"room": ROOM, **params}
            number = rig.send(method, **params)
            if one == permission:
                refused = [m for m in rig.sent if m.get("id") == number]
                assert not refused or refused[0]["error"]["code"] == ErrorCode.NOT_A_MEMBER, method
                if rig.machine.context.pending:
                    rig.answer(ServiceUnavailableError())
            else:
                assert rig.error(number) == ErrorCode.ROOM_PERMISSION_MISSING, method
                assert rig.reply(number)["error"]["data"]["permission"] == one


def test_r7_a_grant_to_kick_is_enough() -> None:
    rig = granted(grant("*", "kick"))
    rig.send("rooms.kick", room=ROOM, participantId=BOB, seconds=5)
    request = rig.requests[-1]
    assert (request.may_kick, request.seconds) == (True, 5.0)


def test_r7_a_room_that_is_not_granted_is_not_found() -> None:
    rig = granted(grant("other", "join"))
    number = rig.send("rooms.find", roomId="r1-00")
    rig.answer(RoomPage((RECORD,)))
    hidden = rig.reply(number)["error"]
    number = rig.send("rooms.find", roomId="r1-00")
    rig.answer(RoomPage(()))
    assert rig.reply(number)["error"] == hidden


def test_r7_an_invitation_grants_while_it_lasts() -> None:
    rig = granted(scopes=())
    assert rig.error(rig.send("rooms.join", room=ROOM)) == ErrorCode.ROOM_PERMISSION_MISSING
    rig.do("invited", invitation(), rig.now)
    rig.do("invited", invitation(), rig.now)
    assert [one["invitation"]["id"] for one in rig.notifications("rooms.invited")] == ["i1"], "notified once"
    rig.pass_alive(59)
    joined(rig)
    assert rig.error(rig.send("rooms.invite", room=ROOM, participantIds=[BOB])) == ErrorCode.ROOM_PERMISSION_MISSING
    rig.pass_alive(2)
    assert rig.error(rig.send("rooms.join", room=ROOM)) == ErrorCode.ROOM_PERMISSION_MISSING
    rig.send("rooms.send", room=ROOM, messageId="m", message=1)
    assert isinstance(rig.requests[-1], SendMessage), "a member stays one"


def test_r7_a_declined_invitation_grants_nothing_an_accepted_one_does() -> None:
    for accept in (True, False):
        rig = granted()
        rig.do("invited", invitation(), rig.now)
        rig.send("rooms.answer", invitationId="i1", accept=accept)
        rig.answer(invitation())
        number = rig.send("rooms.join", room=ROOM)
        if accept:
            assert isinstance(rig.requests[-1], JoinRoom)
        else:
            assert rig.error(number) == ErrorCode.ROOM_PERMISSION_MISSING


def test_r7_a_refresh_that_takes_join_away_ends_the_membership() -> None:
    rig = granted(grant("*", "join", "watch"))
    for room in ("a", "b"):
        joined(rig, room)
    rig.do("invited", invitation("i2", "c"), rig.now)
    joined(rig, "c")
    rig.services.tokens["fewer"] = token_for("anna", room_grants=(grant("b", "join"),))
    number = rig.send("session.refreshToken", token="fewer")
    request = rig.requests[-1]
    assert isinstance(request, RefreshRequest)
    assert (request.leave, request.token.room_grants) == (("a",), (grant("b", "join"),))
    rig.answer(rig.record())
    rig.result(number)
    assert rooms_of(rig) == ["b", "c"]
    assert rig.notifications("rooms.left") == [{"room": "a", "reason": "permission_lost"}]
    assert rig.machine.context.rooms is not None
    assert list(rig.machine.context.rooms.watches.sent) == ["c"], "b may not be watched any more"
    assert rig.machine.context.session is not None
    assert rig.machine.context.session.record.room_grants == (grant("b", "join"),), "what is restored (S15)"
    assert rig.notifications("rooms.unwatched") == [{"room": "b", "reason": "permission_lost"}]


def test_r7_a_refresh_that_takes_the_watch_alone_is_told_and_the_member_stays() -> None:
    rig = joined(granted(grant("*", "join", "watch")), ROOM)
    number = rig.send("rooms.watch", rooms=["hall"])
    rig.answer([roster("hall")])
    rig.result(number)
    rig.services.tokens["fewer"] = token_for("anna", room_grants=(grant("*", "join"),))
    rig.send("session.refreshToken", token="fewer")
    rig.answer(rig.record())
    assert rooms_of(rig) == [ROOM]
    assert rig.notifications("rooms.left") == []
    assert rig.notifications("rooms.unwatched") == [
        {"room": ROOM, "reason": "permission_lost"},
        {"room": "hall", "reason": "permission_lost"},
    ]
    assert rig.machine.context.rooms is not None
    assert rig.machine.context.rooms.watches.sent == {}
    rig.do("directory_changed", rig.now)
    assert len(rig.notifications("rooms.unwatched")) == 2


def test_r7_a_scope_that_is_gone_ends_watches() -> None:
    rig = joined(Rig().open(), ROOM)
    rig.services.tokens["fewer"] = token_for("anna", scopes=("session:update",))
    rig.send("session.refreshToken", token="fewer")
    rig.answer(rig.record())
    assert rig.notifications("rooms.unwatched") == [{"room": ROOM, "reason": "permission_lost"}]
    assert rooms_of(rig) == [ROOM]


@pytest.mark.parametrize("method", ["rooms.join", "rooms.watch"])
def test_r7_a_setting_that_takes_the_watch_while_its_reply_is_on_its_way_counts(method: str) -> None:
    rig = Rig().open(room_grants=(grant("*", "join"),))
    params = {"room": ROOM} if method == "rooms.join" else {"rooms": [ROOM]}
    number = rig.send(method, **params)
    rig.services.settings(rooms=RoomSettings(access="granted"))
    rig.do("directory_changed", rig.now)
    rig.answer(roster() if method == "rooms.join" else [roster()])
    if method == "rooms.join":
        result = rig.result(number)
        assert (result["watching"], result["roster"]["count"], "members" in result["roster"]) == (False, 0, False)
    else:
        assert rig.error(number) == ErrorCode.ROOM_PERMISSION_MISSING
    assert rig.notifications("rooms.unwatched") == []
    assert rig.machine.context.rooms is not None
    assert rig.machine.context.rooms.watches.sent == {}


def test_a_refused_refresh_changes_nothing() -> None:
    rig = joined(granted(grant("*", "join", "watch")), ROOM)
    rig.services.tokens["fewer"] = token_for("anna")
    rig.send("session.refreshToken", token="fewer")
    rig.answer(ServiceUnavailableError())
    assert rooms_of(rig) == [ROOM]
    assert rig.notifications("rooms.left") == []


# -- coming back ------------------------------------------------------------------------------------------------------


def attached(rig: Rig, **fields: Any) -> Attached:
    more = {name: fields.pop(name) for name in ("lost_rooms", "invitations") if name in fields}
    return Attached(session=rig.record(2, **fields), participant=person(ANNA, 5), created=False, **more)


def resumed(rig: Rig, result: Attached, **params: Any) -> int:
    """The resume of a session, as far as the answer to what it asks about rooms."""
    number = rig.resume(**params)
    rig.answer(result)
    rig.answer([person(ANNA, 5)])
    return number
