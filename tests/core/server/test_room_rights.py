"""Who may do what in a room (R7), and what a session loses with its right."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import ErrorCode
from greenroom.core.requests import RefreshRequest
from greenroom.core.rooms.requests import JoinRoom, KickMember, LeaveRoom, RoomPage, SendMessage
from greenroom.errors import ServiceUnavailableError
from greenroom.model import RoomSettings
from tests.core.server.rig import ANNA, APP, BOB, Rig, token_for
from tests.core.server.room_rig import RECORD, ROOM, grant, granted, invitation, joined, rooms_of, roster, watched_by


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
    assert list(watched_by(rig)) == ["c"], "b may not be watched any more"
    assert rig.machine.context.session is not None
    assert rig.machine.context.session.record.room_grants == (grant("b", "join"),), "what is restored (S15)"
    assert rig.notifications("rooms.unwatched") == [{"room": "b", "reason": "permission_lost"}]


def test_r7_a_refresh_that_takes_the_watch_alone_is_notified_and_the_member_stays() -> None:
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
    assert watched_by(rig) == {}
    rig.do("directory_changed", rig.now)
    assert len(rig.notifications("rooms.unwatched")) == 2


def test_r7_a_scope_that_is_gone_ends_watches() -> None:
    rig = joined(Rig().open(), ROOM)
    rig.services.tokens["fewer"] = token_for("anna", scopes=("session:update",))
    rig.send("session.refreshToken", token="fewer")
    rig.answer(rig.record())
    assert rig.notifications("rooms.unwatched") == [{"room": ROOM, "reason": "permission_lost"}]
    assert rooms_of(rig) == [ROOM]


def test_a_refused_refresh_changes_nothing() -> None:
    rig = joined(granted(grant("*", "join", "watch")), ROOM)
    rig.services.tokens["fewer"] = token_for("anna")
    rig.send("session.refreshToken", token="fewer")
    rig.answer(ServiceUnavailableError())
    assert rooms_of(rig) == [ROOM]
    assert rig.notifications("rooms.left") == []


def test_r7_a_setting_that_takes_join_away_ends_the_membership() -> None:
    rig = Rig().open(room_grants=(grant("a", "join", "watch"),))
    for room in ("a", "b"):
        joined(rig, room)
    rig.do("directory_changed", rig.now)
    assert rooms_of(rig) == ["a", "b"]
    rig.services.settings(rooms=RoomSettings(access="granted"))
    rig.do("directory_changed", rig.now)
    assert rig.requests[-1] == LeaveRoom(
        app=APP, participant_id=ANNA, room="b", owner=rig.owner, reason="permission_lost"
    )
    assert rig.notifications("rooms.left") == [{"room": "b", "reason": "permission_lost"}]
    assert rig.notifications("rooms.unwatched") == []
    assert rooms_of(rig) == ["a"]


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
    assert watched_by(rig) == {}
