"""What others do to a session in rooms: kicks, and answers to its invitations."""

from __future__ import annotations

from greenroom.messages import RoomInvitationAnswered
from tests.core.server.rig import BOB, Rig
from tests.core.server.room_rig import ROOM, joined, rooms_of


def test_a_kick_is_notified_once() -> None:
    rig = joined(Rig().open())
    rig.do("room_left", ROOM, "kicked")
    rig.do("room_left", ROOM, "kicked")
    assert rig.notifications("rooms.left") == [{"room": ROOM, "reason": "kicked"}]
    assert rooms_of(rig) == []


def test_an_answered_invitation_is_notified() -> None:
    rig = Rig().open()
    rig.do("invitation_answered", RoomInvitationAnswered("i1", ROOM, BOB, True))
    assert rig.notifications("rooms.answered") == [
        {"invitationId": "i1", "room": ROOM, "participantId": BOB, "accepted": True}
    ]
