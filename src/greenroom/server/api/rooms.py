"""The server API for rooms: list, open, look into, send, invite, kick, end."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta

from greenroom.codes import ErrorCode
from greenroom.core.presence import AVAILABLE
from greenroom.core.rooms.limits import limits_of
from greenroom.core.rooms.names import (
    LONGEST_INVITATION_TTL,
    LONGEST_KICK,
    LONGEST_TTL,
    MAX_INVITATION_TEXT_BYTES,
    check_invitation_text,
    check_message,
    check_room_name,
)
from greenroom.core.rooms.requests import CreateRoom, EndRoom, KickMember, RoomQuery, RosterQuery, SendMessage
from greenroom.errors import NotFoundError
from greenroom.model import MemberRecord, RoomRecord, make_room_id, partition_of_room
from greenroom.server.api.common import Cursor, Limit, PresenceName, checked_id, one_of, participant_id_for
from greenroom.server.http.routes import MAX_LARGE_BODY_BYTES, Call, Nothing, api
from greenroom.server.sessions.room_control import Invitees
from greenroom.tokens.scopes import ROOMS_ADMIN, ROOMS_READ

MAX_INVITEES = 100
"""Participants of one call."""

_Name = Annotated[str, Meta(min_length=1, max_length=250, description="The room's name: 1 to 250 bytes of UTF-8.")]


class RoomPath(msgspec.Struct, frozen=True):
    """Names a room."""

    room: _Name


class RoomsQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which rooms."""

    participant_id: Annotated[str, Meta(min_length=1, description="Only rooms that this participant is in.")] | None = (
        None
    )
    external_id: Annotated[str, Meta(min_length=1, description="The same, by external id.")] | None = None
    search: (
        Annotated[str, Meta(min_length=1, max_length=256, description="A part of the name, in upper or lower case.")]
        | None
    ) = None
    cursor: Cursor | None = None
    limit: Limit = 100


class MembersQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page."""

    cursor: Cursor | None = None
    limit: Limit = 100


class RoomView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A room. id: made when it was opened. version: of the roster, it only grows. count: members. detailed: changes
    name members; else they bring the count. ttl: seconds that it outlasts its last member. opened_at: Unix
    milliseconds. opened_by: the participant, null where the backend. ending: it takes nobody, and its members leave."""

    name: str
    id: str
    version: int
    count: int
    detailed: bool
    ttl: float
    opened_at: int
    opened_by: str | None
    ending: bool


class RoomPageView(msgspec.Struct, frozen=True, kw_only=True):
    """A page, by name; it may hold fewer than the limit. cursor: for the next one, null at the end."""

    items: tuple[RoomView, ...]
    cursor: str | None


class MemberView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A member. presence: of its sessions in the room. attributes: those of `rosterAttributes`. joined_at: Unix
    milliseconds."""

    id: str
    external_id: str | None
    name: str | None
    avatar_url: str | None
    presence: PresenceName
    status: str
    attributes: dict[str, str]
    sessions: int
    joined_at: int


class MemberPageView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a roster, by id. version: of the roster that it was read from. cursor: for the next one, null at the
    end."""

    items: tuple[MemberView, ...]
    version: int
    count: int
    cursor: str | None


class OpenRoomRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a room is opened; of one that is open nothing changes."""

    ttl: Annotated[
        float, Meta(ge=0, le=LONGEST_TTL, description="How many seconds the room outlasts its last member.")
    ] = 0.0
    detailed: Annotated[
        bool, Meta(description="false: a counted room, whose changes carry the count but no members.")
    ] = True


class RoomMessageRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A message to the members of a room."""

    message: Annotated[Any, Meta(description="Any JSON value of at most 16 KiB.")]
    message_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description="An id of your own: a repeat with the same id is not sent again.",
            ),
        ]
        | None
    ) = None
    to: Annotated[tuple[str, ...], Meta(max_length=100, description="Ids of participants. Left out: all members.")] = ()
    to_external_ids: Annotated[tuple[str, ...], Meta(max_length=100, description="The same, by external id.")] = ()


class RoomMessageReply(msgspec.Struct, frozen=True, kw_only=True):
    """number: of the message in its room; it only grows."""

    number: int


class KickMemberRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Who, and for how long it stays out."""

    participant_id: str | None = None
    external_id: str | None = None
    seconds: Annotated[
        float, Meta(ge=0, le=LONGEST_KICK, description="Seconds for which the participant cannot join again.")
    ] = 60.0


class KickMemberReply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """sessions: ids of the sessions whose membership this ended."""

    participant_id: str
    sessions: tuple[str, ...]


class InvitationRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Whom, and with what text."""

    participant_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_INVITEES)] = ()
    external_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_INVITEES)] = ()
    text: Annotated[
        str,
        Meta(
            max_length=MAX_INVITATION_TEXT_BYTES, description=f"At most {MAX_INVITATION_TEXT_BYTES:,} bytes of UTF-8."
        ),
    ] = ""
    ttl: (
        Annotated[
            float,
            Meta(gt=0, le=LONGEST_INVITATION_TTL, description="Seconds. Left out: the application's `invitationTtl`."),
        ]
        | None
    ) = None


class InvitationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One invitation that was made, whether or not someone of that id was ever here. expires_at: Unix milliseconds."""

    id: str
    participant_id: str
    expires_at: int


class InvitationsReply(msgspec.Struct, frozen=True, kw_only=True):
    """In the order of the request."""

    items: tuple[InvitationView, ...]


class EndRoomReply(msgspec.Struct, frozen=True, kw_only=True):
    """state: `ending` while members leave, 500 at a time; `absent` where the room is not open."""

    state: Literal["ending", "absent"]


async def list_rooms(call: Call[Nothing, RoomsQuery, Nothing]) -> RoomPageView:
    """Open rooms by name: all, those in which a participant is, or found by a search."""
    query = call.query
    participant_id = None
    if query.participant_id is not None or query.external_id is not None:
        participant_id = one_of(call, query.participant_id, query.external_id)
    page = await call.context.engine.rooms.rooms(
        RoomQuery(
            app=call.app.key,
            participant_id=participant_id,
            search=query.search or "",
            cursor=query.cursor,
            limit=query.limit,
        )
    )
    return RoomPageView(items=tuple(map(room_view, page.items)), cursor=page.cursor)


async def get_room(call: Call[RoomPath, Nothing, Nothing]) -> RoomView:
    """One open room."""
    return room_view(await _room(call))


async def open_room(call: Call[RoomPath, Nothing, OpenRoomRequest]) -> RoomView:
    """Opens a room, empty; it is kept for `ttl`, at least 60 s, without members. One that is open stays as it is."""
    name = check_room_name(call.path.room)
    roster = await call.context.engine.rooms.create(
        CreateRoom(
            app=call.app.key,
            room=name,
            room_id=new_room_id(call, name),
            ttl=call.body.ttl,
            detailed=call.body.detailed,
            limits=limits_of(call.app),
        )
    )
    return room_view(await _room(call) if roster.record is None else roster.record)


async def list_members(call: Call[RoomPath, MembersQuery, Nothing]) -> MemberPageView:
    """The members of a room, by id. A room that is not open has none."""
    query = call.query
    roster = await call.context.engine.rooms.roster(
        RosterQuery(app=call.app.key, room=check_room_name(call.path.room), cursor=query.cursor, limit=query.limit)
    )
    return MemberPageView(
        items=tuple(map(member_view, roster.members)), version=roster.version, count=roster.count, cursor=roster.cursor
    )


async def send_message(call: Call[RoomPath, Nothing, RoomMessageRequest]) -> RoomMessageReply:
    """Sends a message to the members who are connected, in order, at most once. It is not stored."""
    body = call.body
    to = [*map(checked_id, body.to), *(participant_id_for(call, one) for one in body.to_external_ids)]
    request = SendMessage(
        app=call.app.key,
        room=check_room_name(call.path.room),
        message_id=body.message_id or str(uuid4()),
        message=check_message(msgspec.json.encode(body.message)),
        to=tuple(dict.fromkeys(to)),
        limits=limits_of(call.app),
    )
    return RoomMessageReply(number=await call.context.engine.rooms.send(request))


async def kick_member(call: Call[RoomPath, Nothing, KickMemberRequest]) -> KickMemberReply:
    """Ends the participant's memberships of the room, and keeps it out for some time. Its sessions stay open."""
    body = call.body
    participant_id = one_of(call, body.participant_id, body.external_id)
    moderated = await call.context.rooms.moderate(
        KickMember(
            app=call.app.key, room=check_room_name(call.path.room), participant_id=participant_id, seconds=body.seconds
        )
    )
    return KickMemberReply(participant_id=participant_id, sessions=tuple(one.session_id for one in moderated.lost))


async def invite(call: Call[RoomPath, Nothing, InvitationRequest]) -> InvitationsReply:
    """Invites participants, online or not: each of their sessions gets the invitation, at once or as it opens, until
    one answers or the time is over. The reply does not say whether there is someone of that id."""
    body = call.body
    invitees = [*map(checked_id, body.participant_ids), *(participant_id_for(call, one) for one in body.external_ids)]
    made = await call.context.rooms.invite(
        call.app,
        check_room_name(call.path.room),
        Invitees(participants=tuple(dict.fromkeys(invitees)), text=check_invitation_text(body.text), ttl=body.ttl),
    )
    return InvitationsReply(
        items=tuple(InvitationView(id=one.id, participant_id=one.invitee, expires_at=one.expires_at) for one in made)
    )


async def end_room(call: Call[RoomPath, Nothing, Nothing]) -> EndRoomReply:
    """Ends the room: it refuses joins, and its members are removed, 500 at a time. Their sessions stay open."""
    moderated = await call.context.rooms.moderate(EndRoom(app=call.app.key, room=check_room_name(call.path.room)))
    return EndRoomReply(state="ending" if moderated.changed else "absent")


def room_view(record: RoomRecord) -> RoomView:
    """The room as the app sees it."""
    return RoomView(
        name=record.name,
        id=record.id,
        version=record.version,
        count=record.count,
        detailed=record.detailed,
        ttl=record.ttl,
        opened_at=record.opened_at,
        opened_by=record.opened_by or None,
        ending=record.ending,
    )


def member_view(record: MemberRecord) -> MemberView:
    """The member as the app sees it."""
    return MemberView(
        id=record.id,
        external_id=record.external_id,
        name=record.name or None,
        avatar_url=record.avatar_url or None,
        presence=record.presence.value,
        status=record.status or AVAILABLE,
        attributes=record.attributes or {},
        sessions=record.sessions,
        joined_at=record.joined_at,
    )


def new_room_id(call: Call[Any, Any, Any], name: str) -> str:
    """The id that a room of this name gets, where it is opened now."""
    return make_room_id(partition_of_room(call.app.key, name), call.context.tenants.random_bytes(16))


async def _room(call: Call[RoomPath, Any, Any]) -> RoomRecord:
    page = await call.context.engine.rooms.rooms(
        RoomQuery(app=call.app.key, names=(check_room_name(call.path.room),), limit=1)
    )
    if not page.items:
        raise NotFoundError("There is no such room.", hint="Check the name; a room ends after its last member left.")
    return page.items[0]


_ROOMS = (ErrorCode.ROOMS_UNAVAILABLE,)
_LIMITED = (*_ROOMS, ErrorCode.ROOM_LIMIT_REACHED)
_SEND = (*_ROOMS, ErrorCode.RATE_LIMITED)

ROUTES = (
    api("GET /v1/rooms", list_rooms, "List or find rooms", ROOMS_READ, tag="rooms", errors=_ROOMS),
    api(
        "GET /v1/rooms/{room}", get_room, "Read a room", ROOMS_READ, tag="rooms", errors=(*_ROOMS, ErrorCode.NOT_FOUND)
    ),
    api("POST /v1/rooms/{room}", open_room, "Open a room", ROOMS_ADMIN, tag="rooms", errors=_LIMITED),
    api("DELETE /v1/rooms/{room}", end_room, "End a room", ROOMS_ADMIN, tag="rooms", errors=_ROOMS),
    api("GET /v1/rooms/{room}/members", list_members, "List a room's members", ROOMS_READ, tag="rooms", errors=_ROOMS),
    api(
        "POST /v1/rooms/{room}/messages",
        send_message,
        "Send a message",
        ROOMS_ADMIN,
        tag="rooms",
        errors=_SEND,
        max_body_bytes=MAX_LARGE_BODY_BYTES,
    ),
    api("POST /v1/rooms/{room}/kick", kick_member, "Kick a member", ROOMS_ADMIN, tag="rooms", errors=_ROOMS),
    api("POST /v1/rooms/{room}/invitations", invite, "Invite participants", ROOMS_ADMIN, tag="rooms", errors=_ROOMS),
)
