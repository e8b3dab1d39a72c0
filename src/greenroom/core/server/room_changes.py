"""What others do to a session in rooms: memberships and watches that end, and invitations."""

from __future__ import annotations

from collections.abc import Iterable

from greenroom.core.rooms.requests import LeaveRoom
from greenroom.core.rooms.watching import invitation_to_wire
from greenroom.core.server.context import ATTACHED, SessionContext
from greenroom.core.server.services import Now
from greenroom.messages import RoomInvitationAnswered, RoomInvited, RoomLeft, RoomUnwatched
from greenroom.model import Invitation

PERMISSION_LOST = "permission_lost"


def room_left(context: SessionContext, room: str, reason: str) -> None:
    """The session lost its membership of a room."""
    if context.rooms is not None and context.rooms.left(room) and context.state in ATTACHED:
        context.notify_after_reply("rooms.left", RoomLeft(room, reason))


def leave_rooms(context: SessionContext, rooms: Iterable[str]) -> None:
    """These are no longer granted (R7)."""
    owner = context.owner
    if owner is not None:
        for room in rooms:
            context.notify_engine(
                LeaveRoom(
                    app=context.app,
                    participant_id=context.participant_id,
                    room=room,
                    owner=owner,
                    reason=PERMISSION_LOST,
                )
            )
            room_left(context, room, PERMISSION_LOST)


def notify_unwatched(context: SessionContext, rooms: Iterable[str]) -> None:
    """Changes of these follow no more: the session may not watch them (R7)."""
    for room in rooms:
        context.notify_after_reply("rooms.unwatched", RoomUnwatched(room, PERMISSION_LOST))


def invited(context: SessionContext, invitation: Invitation, now: Now) -> None:
    """The session's participant was invited to a room."""
    if context.state in ATTACHED and context.session_rooms().note(invitation, now):
        context.notify_after_reply("rooms.invited", RoomInvited(invitation_to_wire(invitation)))


def invitation_answered(context: SessionContext, answered: RoomInvitationAnswered) -> None:
    """An invitation by the session's participant was answered."""
    if context.state in ATTACHED:
        context.notify_after_reply("rooms.answered", answered)
