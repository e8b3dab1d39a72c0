"""What a session that was opened or resumed has to do with rooms."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.core.rooms.names import MAX_WATCHED_ROOMS
from greenroom.core.rooms.requests import LeaveRoom, WatchRooms
from greenroom.core.states import ServerState
from greenroom.errors import RoomsUnavailableError, ServiceUnavailableError
from greenroom.model import RoomSettings
from tests.core.server.rig import APP, BOB, Rig
from tests.core.server.room_rig import attached, grant, invitation, resumed, rooms_of, roster, touched_by, watched_by


def test_invitations_that_wait_come_with_the_open() -> None:
    rig = Rig()
    number = rig.hello()
    rig.answer(attached(rig, invitations=(invitation(),)))
    result = rig.result(number)
    assert [one["id"] for one in result["invitations"]] == ["i1"]
    assert ("rooms" in result, "lostRooms" in result, "rosters" in result) == (False, False, False)
    assert "rooms" in result["capabilities"]


def test_r1_a_resumed_session_is_where_it_was() -> None:
    rig = Rig()
    number = resumed(
        rig,
        attached(rig, rooms=("a", "b"), lost_rooms=(("c", "kicked"),)),
        watchingRooms=[["a", 3], ["d", 4]],
    )
    assert rig.requests[-1] == WatchRooms(app=APP, rooms=("a", "d"), known={"a": 3, "d": 4})
    rig.answer([roster("a", 5, members=(), left=(BOB,), since=3), roster("d", 4, since=4)])
    result = rig.result(number)
    assert (result["rooms"], result["lostRooms"]) == (["a", "b"], [["c", "kicked"]])
    assert [(one["room"], one["since"], one["left"]) for one in result["rosters"]] == [("a", 3, [BOB])]
    assert (rooms_of(rig), watched_by(rig)) == (["a", "b"], {"a": 5, "d": 4})
    assert set(touched_by(rig)) == {"a", "b", "d"}


def test_a_session_without_rooms_resumes_as_before() -> None:
    rig = Rig()
    result = rig.result(resumed(rig, attached(rig)))
    assert not {"rooms", "lostRooms", "rosters", "invitations"} & set(result)
    assert rig.machine.context.rooms is None
    assert len(rig.calls) == 2


def test_a_resume_watches_what_it_may() -> None:
    rig = Rig()
    result = rig.result(resumed(rig, attached(rig, rooms=("a",), scopes=()), watchingRooms=[["a", 3]]))
    assert (result["rooms"], result["rosters"]) == (["a"], [])
    assert rig.notifications("rooms.unwatched") == [{"room": "a", "reason": "permission_lost"}]
    many = [[f"room-{number}", 1] for number in range(MAX_WATCHED_ROOMS + 1)]
    rig = Rig()
    assert rig.error(rig.resume(watchingRooms=many)) == ErrorCode.ILLEGAL_ARGUMENT


def test_r5_a_program_that_was_started_again_gets_the_rosters_of_its_rooms() -> None:
    rig = Rig()
    number = resumed(rig, attached(rig, rooms=("a", "b")), rosters=True)
    assert rig.requests[-1] == WatchRooms(app=APP, rooms=("a", "b"), known={})
    rig.answer([roster("a", 5), roster("b", 6)])
    result = rig.result(number)
    assert (result["rooms"], [one["room"] for one in result["rosters"]]) == (["a", "b"], ["a", "b"])
    assert watched_by(rig) == {"a": 5, "b": 6}


def test_r7_it_gets_none_that_it_may_not_watch() -> None:
    rig = Rig()
    rig.services.settings(rooms=RoomSettings(access="granted"))
    number = resumed(rig, attached(rig, rooms=("a", "b"), room_grants=(grant("a", "join", "watch"),)), rosters=True)
    rig.answer([roster("a", 5)])
    assert [one["room"] for one in rig.result(number)["rosters"]] == ["a"]
    rig = Rig()
    rig.services.settings(rooms=RoomSettings(access="granted"))
    result = rig.result(resumed(rig, attached(rig, rooms=("c",), room_grants=(grant("c", "join"),)), rosters=True))
    assert (result["rooms"], result["rosters"]) == (["c"], [])
    assert rig.notifications("rooms.unwatched") == []


def test_r7_a_resume_with_a_token_that_does_not_grant_the_room_leaves_it() -> None:
    rig = Rig()
    rig.services.settings(rooms=RoomSettings(access="granted"))
    result = attached(rig, rooms=("a", "b"), room_grants=(grant("b", "join"),))
    reply = rig.result(resumed(rig, result, token="anna"))
    assert (reply["rooms"], reply["lostRooms"]) == (["b"], [["a", "permission_lost"]])
    assert [one.room for one in rig.requests if isinstance(one, LeaveRoom)] == ["a"]
    assert rig.notifications("rooms.left") == []


def test_r1_a_resume_succeeds_while_rooms_are_not_served() -> None:
    rig = Rig()
    number = resumed(rig, attached(rig, rooms=("a",)), watchingRooms=[["a", 3]])
    rig.answer(RoomsUnavailableError())
    assert (rig.result(number)["rooms"], "rosters" in rig.result(number)) == (["a"], False)
    assert watched_by(rig) == {}


def test_a_resume_whose_rosters_cannot_be_read_is_refused_and_detached() -> None:
    rig = Rig()
    number = resumed(rig, attached(rig, rooms=("a",)), watchingRooms=[["a", 3]])
    rig.answer(ServiceUnavailableError())
    assert rig.error(number) == ErrorCode.SERVICE_UNAVAILABLE
    assert rig.is_in(ServerState.GONE)
