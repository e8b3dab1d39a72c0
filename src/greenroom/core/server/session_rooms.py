"""What happens to a session in rooms: its requests about them, and what others do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from greenroom.core.rooms.watching import invitation_to_wire
from greenroom.core.server.context import ATTACHED, RequestId, SessionContext
from greenroom.core.server.rooms import PERMISSION_LOST, ROOM_METHODS, AskAboutRoom, Asking, leaving
from greenroom.core.server.services import Now
from greenroom.messages import RoomInvitationAnswered, RoomInvited, RoomLeft, RoomUnwatched
from greenroom.model import Invitation


def room_left(context: SessionContext, room: str, reason: str) -> None:
    """The session lost its membership of a room."""
    if context.rooms is not None and context.rooms.left(room) and context.state in ATTACHED:
        context.notify_after_reply("rooms.left", RoomLeft(room, reason))


def leave_rooms(context: SessionContext, rooms: Iterable[str]) -> None:
    """These are not granted any more (R7)."""
    owner = context.owner
    if owner is not None:
        for room in rooms:
            context.notify_engine(leaving(context.app, context.participant_id, room, owner, PERMISSION_LOST))
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


def _about_room(ask: AskAboutRoom) -> Callable[[SessionContext, RequestId, Any, Now], None]:
    def carry_out(context: SessionContext, request_id: RequestId, params: Any, now: Now) -> None:
        session, owner = context.session, context.owner
        assert session is not None
        assert owner is not None
        rooms = context.session_rooms()
        asking = Asking(
            context.app,
            context.participant_id,
            session.participant.name,
            owner,
            context.rights(),
            rooms,
            context.services,
        )
        call = ask(asking, params, now)
        context.request(call.request, request_id, call.reply, call.undo)

    return carry_out


REQUESTS = {method: _about_room(ask) for method, ask in ROOM_METHODS.items()}
"""`rooms.…`"""
