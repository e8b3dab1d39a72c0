"""What a session asks about rooms: permission (R7), the request to the engine, and the reply made of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.requests import Owner
from greenroom.core.rooms.limits import limits_of
from greenroom.core.rooms.names import (
    LONGEST_CLIENT_TTL,
    LONGEST_KICK,
    MAX_ROOMS_OF_SESSION,
    MAX_WATCHED_ROOMS,
    check_invitation_text,
    check_message,
    check_room_name,
)
from greenroom.core.rooms.requests import (
    AnswerInvitation,
    CreateRoom,
    InviteParticipants,
    JoinRoom,
    KickMember,
    LeaveRoom,
    RoomPage,
    RoomQuery,
    Roster,
    RosterQuery,
    SendMessage,
    UnwatchRooms,
    WatchRooms,
)
from greenroom.core.rooms.watching import AnyRoster, member_to_wire, roster_to_wire
from greenroom.core.server.context import EMPTY, RequestId, SessionContext
from greenroom.core.server.joining import MAX_ID_CHARACTERS, allows, check_text
from greenroom.core.server.services import Now
from greenroom.core.server.session_rooms import SessionRooms
from greenroom.errors import (
    GreenroomError,
    IllegalArgumentError,
    NotAMemberError,
    NotFoundError,
    RoomLimitError,
    RoomPermissionError,
    ScopeMissingError,
)
from greenroom.messages import (
    AnswerParams,
    CreateRoomParams,
    Empty,
    FindRoomParams,
    InviteParams,
    KickMemberParams,
    RoomFoundResult,
    RoomMembersParams,
    RoomMembersResult,
    RoomParams,
    RoomsParams,
    RosterResult,
    RostersResult,
    SendParams,
    WireRoster,
)
from greenroom.model import Application, Invitation, make_room_id, participant_id_of, partition_of_room

CREATE_SCOPE = "conf:create"
MAX_NAMED = 100
"""Participants that one message or invitation may name."""
_MAX_MESSAGE_ID_CHARACTERS = 64


# -- membership -------------------------------------------------------------------------------------------------------


def create(context: SessionContext, request_id: RequestId, params: CreateRoomParams, now: Now) -> None:
    """`rooms.create`: opens a room that nobody is in."""
    room, rights = check_room_name(params.room), context.rights()
    if rights.is_granted:
        rights.check("join", room, now)
    elif not allows(context.scopes, CREATE_SCOPE):
        raise ScopeMissingError(scope=CREATE_SCOPE)
    ttl = 0.0 if params.ttl is None else params.ttl
    if not 0 <= ttl <= LONGEST_CLIENT_TTL:
        raise IllegalArgumentError(f"ttl must be 0 to {LONGEST_CLIENT_TTL:.0f} seconds.")
    request = CreateRoom(
        app=context.app,
        room=room,
        room_id=_new_room_id(context, room),
        opened_by=context.participant_id,
        owner=_owner(context),
        ttl=ttl,
        detailed=params.detailed,
        limits=limits_of(_application(context)),
    )
    watching = room in context.session_rooms().watches.sent

    def reply(roster: Roster, now: Now) -> RosterResult:
        # Who may not watch learns that the room is open, and nothing of who is there.
        shown = roster_to_wire(roster) if rights.allow("watch", room, now) else _hidden(roster)
        return RosterResult(shown, watching=watching)

    context.request(request, request_id, reply)


def join(context: SessionContext, request_id: RequestId, params: RoomParams, now: Now) -> None:
    """`rooms.join`: the session is a member, and watches where it may."""
    room, rooms = _permitted(context, "join", params.room, now), context.session_rooms()
    if room not in rooms.joined and len(rooms.joined) >= MAX_ROOMS_OF_SESSION:
        raise RoomLimitError(f"A session may be in {MAX_ROOMS_OF_SESSION} rooms.", hint="Leave one first.")
    watching = context.rights().allow("watch", room, now)
    context.services.admit_join(context.app, context.participant_id, now)
    held = _hold(rooms, (room,)) if watching else ()
    request = JoinRoom(
        app=context.app,
        participant_id=context.participant_id,
        room=room,
        room_id=_new_room_id(context, room),
        owner=_owner(context),
        limits=limits_of(_application(context)),
    )

    def reply(roster: AnyRoster, _now: Now) -> RosterResult:
        rooms.entered(room)
        rooms.watched(room, roster.version)
        is_watched = watching and room in rooms.watches.sent  # a setting may have taken that meanwhile
        return RosterResult(roster_to_wire(roster) if is_watched else _hidden(roster), watching=is_watched)

    def undo() -> None:
        rooms.unwatched(held)

    context.request(request, request_id, reply, undo)


def leave(context: SessionContext, request_id: RequestId, params: RoomParams, now: Now) -> None:
    """`rooms.leave`: of a room that it is not in as well."""
    room = check_room_name(params.room)

    def reply(_result: None, _now: Now) -> Empty:
        context.session_rooms().left(room)
        return EMPTY

    request = LeaveRoom(app=context.app, participant_id=context.participant_id, room=room, owner=_owner(context))
    context.request(request, request_id, reply)


# -- rosters ----------------------------------------------------------------------------------------------------------


def watch(context: SessionContext, request_id: RequestId, params: RoomsParams, now: Now) -> None:
    """`rooms.watch`: rosters, then changes. Of ``known`` what differs, if anything does."""
    known = dict(params.known)
    names = tuple(dict.fromkeys((*params.rooms, *known)))
    if not names:
        raise IllegalArgumentError("Neither rooms nor known names a room.", hint="Name the rooms to watch.")
    for room in names:
        _permitted(context, "watch", room, now)
    rooms = context.session_rooms()
    held = _hold(rooms, names)
    known = {room: version for room, version in known.items() if room not in params.rooms}

    def reply(rosters: Sequence[AnyRoster], _now: Now) -> RostersResult:
        if not rooms.watches.sent.keys() >= set(names):  # a setting took that meanwhile
            raise RoomPermissionError(permission="watch")
        return RostersResult(rooms.took(rosters, known))

    def undo() -> None:
        rooms.unwatched(held)

    context.request(WatchRooms(app=context.app, rooms=names, known=known), request_id, reply, undo)


def unwatch(context: SessionContext, request_id: RequestId, params: RoomsParams, now: Now) -> None:
    """`rooms.unwatch`: the session stays in rooms that it is in."""
    gone = context.session_rooms().unwatched(params.rooms)
    context.request(UnwatchRooms(context.app, gone), request_id, _done)


def members(context: SessionContext, request_id: RequestId, params: RoomMembersParams, now: Now) -> None:
    """`rooms.members`: a page of a roster."""
    room = _permitted(context, "watch", params.room, now)

    def reply(roster: Roster, _now: Now) -> RoomMembersResult:
        found = [member_to_wire(one) for one in roster.members]
        return RoomMembersResult(roster.version, roster.count, found, roster.cursor)

    context.request(RosterQuery(app=context.app, room=room, cursor=params.cursor), request_id, reply)


def find(context: SessionContext, request_id: RequestId, params: FindRoomParams, now: Now) -> None:
    """`rooms.find`: the name of the room with an id. One that the session may neither join nor watch is not there."""
    check_text(params.room_id, "roomId", MAX_ID_CHARACTERS, 1)
    rights = context.rights()

    def reply(page: RoomPage, now: Now) -> RoomFoundResult:
        name = page.items[0].name if page.items else None
        if name is None or not (rights.allow("join", name, now) or rights.allow("watch", name, now)):
            raise NotFoundError("No room has this id.", hint="A room that is opened again gets another id.")
        return RoomFoundResult(name)

    context.request(RoomQuery(app=context.app, room_id=params.room_id, limit=1), request_id, reply)


# -- messages and moderation ------------------------------------------------------------------------------------------


def send(context: SessionContext, request_id: RequestId, params: SendParams, now: Now) -> None:
    """`rooms.send`: the engine checks membership and budget."""
    room = _permitted(context, "send", params.room, now)
    _check_member(context, room)
    check_text(params.message_id, "messageId", _MAX_MESSAGE_ID_CHARACTERS, 1)
    request = SendMessage(
        app=context.app,
        room=room,
        message_id=params.message_id,
        message=check_message(bytes(params.message)),
        sender=context.participant_id,
        session_id=_owner(context).session_id,
        to=_ids_of(context, params.to, (), "to"),
        limits=limits_of(_application(context)),
    )
    context.request(request, request_id, _done)


def kick(context: SessionContext, request_id: RequestId, params: KickMemberParams, now: Now) -> None:
    """`rooms.kick`: by who opened the room, or whose token grants it."""
    room = _permitted(context, "kick", params.room, now)
    check_text(params.participant_id, "participantId", MAX_ID_CHARACTERS, 1)
    seconds = 60.0 if params.seconds is None else params.seconds
    if not 0 <= seconds <= LONGEST_KICK:
        raise IllegalArgumentError(f"seconds must be 0 to {LONGEST_KICK:.0f}.")
    request = KickMember(
        app=context.app,
        room=room,
        participant_id=params.participant_id,
        seconds=seconds,
        by=context.participant_id,
        may_kick=context.rights().is_granted,
    )
    context.request(request, request_id, _done)


def invite(context: SessionContext, request_id: RequestId, params: InviteParams, now: Now) -> None:
    """`rooms.invite`: by members. The reply never says whether an invitee exists (R9)."""
    session = context.session
    assert session is not None
    room = _permitted(context, "invite", params.room, now)
    _check_member(context, room)
    invitees = _ids_of(context, params.participant_ids, params.external_ids, "participantIds and externalIds")
    if not invitees:
        raise IllegalArgumentError("Nobody is named.", hint="Give participantIds or externalIds.")
    text = check_invitation_text(params.text or "")
    context.services.admit_invitations(context.app, context.participant_id, len(invitees), now)
    request = InviteParticipants(
        app=context.app,
        room=room,
        inviter=context.participant_id,
        inviter_name=session.participant.name,
        invitees=invitees,
        text=text,
    )
    context.request(request, request_id, _done)


def answer(context: SessionContext, request_id: RequestId, params: AnswerParams, now: Now) -> None:
    """`rooms.answer`: what was accepted grants until its time is over."""
    check_text(params.invitation_id, "invitationId", MAX_ID_CHARACTERS, 1)

    def reply(invitation: Invitation, now: Now) -> Empty:
        rooms = context.session_rooms()
        if params.accept:
            rooms.note(invitation, now)
        else:
            rooms.invitations.pop(invitation.id, None)
        return EMPTY

    request = AnswerInvitation(
        app=context.app,
        participant_id=context.participant_id,
        owner=_owner(context),
        invitation_id=params.invitation_id,
        accept=params.accept,
    )
    context.request(request, request_id, reply)


# -- what they share --------------------------------------------------------------------------------------------------


def _owner(context: SessionContext) -> Owner:
    owner = context.owner
    assert owner is not None
    return owner


def _application(context: SessionContext) -> Application:
    """Raises GreenroomError (retryable) where the node does not have it."""
    found = context.application()
    if found is None:
        raise GreenroomError(code=ErrorCode.SERVICE_UNAVAILABLE)
    return found


def _permitted(context: SessionContext, permission: str, room: str, now: Now) -> str:
    """The room's name. Raises what refuses it."""
    check_room_name(room)
    context.rights().check(permission, room, now)
    return room


def _check_member(context: SessionContext, room: str) -> None:
    if context.rooms is None or room not in context.rooms.joined:
        raise NotAMemberError


def _ids_of(context: SessionContext, ids: Sequence[str], external_ids: Sequence[str], what: str) -> tuple[str, ...]:
    """Participants, each once. Raises IllegalArgumentError."""
    found = [check_text(one, what, MAX_ID_CHARACTERS, 1) or "" for one in ids]
    if external_ids:
        namespace = _application(context).namespace
        found += [participant_id_of(namespace, one) for one in external_ids]
    if len(found) > MAX_NAMED:
        raise IllegalArgumentError(f"{what} may be {MAX_NAMED}.", hint="Name fewer at a time.")
    return tuple(dict.fromkeys(found))


def _new_room_id(context: SessionContext, room: str) -> str:
    """For a room that is opened."""
    return make_room_id(partition_of_room(context.app, room), context.services.random_bytes(16))


def _hold(rooms: SessionRooms, names: Sequence[str]) -> tuple[str, ...]:
    """Watched from now on, those that are not yet. Raises RoomLimitError."""
    fresh = [room for room in names if room not in rooms.watches.sent]
    if len(rooms.watches.sent) + len(fresh) > MAX_WATCHED_ROOMS:
        raise RoomLimitError(
            f"A session may watch {MAX_WATCHED_ROOMS} rooms, those it is in counted.", hint="Unwatch one first."
        )
    return rooms.watches.hold(fresh)


def _hidden(roster: AnyRoster) -> WireRoster:
    """What someone sees who may not watch the room."""
    return replace(roster_to_wire(roster), members=[], left=[], cursor=None, count=0)


def _done(_result: Any, _now: Now) -> Empty:
    return EMPTY
