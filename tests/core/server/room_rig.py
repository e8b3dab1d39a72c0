"""Sessions in rooms, for the machine's tests: rosters, grants and invitations, and ways into a room."""

from __future__ import annotations

from typing import Any

from greenroom.core.requests import Attached
from greenroom.core.rooms.requests import Roster
from greenroom.core.server.session_rooms import SessionRooms
from greenroom.model import Invitation, MemberRecord, RoomGrant, RoomRecord, RoomSettings
from tests.core.server.rig import ANNA, APP, BOB, WALL, Rig, person

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


def _rooms(rig: Rig) -> SessionRooms:
    rooms = rig.machine.context.rooms
    return SessionRooms(is_granted=False) if rooms is None else rooms


def rooms_of(rig: Rig) -> list[str]:
    """Those that the session is in."""
    return list(_rooms(rig).joined)


def watched_by(rig: Rig) -> dict[str, int]:
    """The version that the session was sent of each room that it watches."""
    return _rooms(rig).watches.sent


def touched_by(rig: Rig) -> tuple[str, ...]:
    """What its node has not seen yet."""
    return _rooms(rig).touched


def attached(rig: Rig, **fields: Any) -> Attached:
    more = {name: fields.pop(name) for name in ("lost_rooms", "invitations") if name in fields}
    return Attached(session=rig.record(2, **fields), participant=person(ANNA, 5), created=False, **more)


def resumed(rig: Rig, result: Attached, **params: Any) -> int:
    """The resume of a session, as far as the answer to what it asks about rooms."""
    number = rig.resume(**params)
    rig.answer(result)
    rig.answer([person(ANNA, 5)])
    return number
