"""The platform's REST API for conferences, as far as it is about rooms: a conference is the room of its alias.

Source: the public clients of the platform (Python 4.0.1, Node 4.1.0, `communications.conference`) and its reference.
What is about media is taken and has no effect; it is not in the answers.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

import msgspec
from msgspec import Meta

from greenroom.codes import ErrorCode
from greenroom.core.rooms.limits import limits_of
from greenroom.core.rooms.names import LONGEST_TTL, check_message, check_room_name
from greenroom.core.rooms.requests import CreateRoom, EndRoom, KickMember, RoomQuery, RosterQuery, SendMessage
from greenroom.engines import paging
from greenroom.errors import NotFoundError
from greenroom.model import RoomGrant, RoomPermission, RoomRecord, partition_of_room_id
from greenroom.server.api.common import MAX_PAGE, participant_id_for
from greenroom.server.api.rooms import MAX_INVITEES, new_room_id
from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import MAX_LARGE_BODY_BYTES, Call, Nothing, api
from greenroom.server.sessions.room_control import Invitees
from greenroom.tokens import CLIENT_TOKEN_LIFE, SESSION_SCOPES, mint_client_token
from greenroom.tokens.scopes import CONFERENCE_ADMIN, CONFERENCE_CREATE, CONFERENCE_DESTROY

PERMISSIONS: dict[str, RoomPermission] = {"SEND_MESSAGE": "send", "INVITE": "invite", "KICK": "kick"}
"""The platform's permissions that say something about a room, and what they grant there beside joining and watching."""
_EVERYTHING: tuple[RoomPermission, ...] = ("join", "watch", "send", "invite", "kick")

_ExternalId = Annotated[str, Meta(min_length=1, max_length=1024)]


class ConferencePath(msgspec.Struct, frozen=True):
    """Names a conference."""

    id: Annotated[str, Meta(min_length=1, max_length=64, description="The conferenceId.")]


class ConferenceParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a conference is to be like; members about media have no effect."""

    ttl: (
        Annotated[
            float,
            Meta(ge=0, le=LONGEST_TTL, description="How many seconds the conference outlasts its last participant."),
        ]
        | None
    ) = None


class ConferenceInvitee(msgspec.Struct, frozen=True, kw_only=True):
    """What a participant gets. permissions: the platform's; where rooms are granted, those of `PERMISSIONS` count.
    notification: whether an invitation is sent."""

    permissions: tuple[str, ...] = ()
    notification: bool = False


class CreateConference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of `POST /v2/conferences/create`."""

    owner_external_id: Annotated[
        _ExternalId | None, Meta(description="The external id of the owner, who gets `ownerToken`.")
    ] = None
    alias: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=250,
                description="The room's name; it is converted to lower case, and `#` is removed.",
            ),
        ]
        | None
    ) = None
    parameters: ConferenceParameters = ConferenceParameters()
    participants: Annotated[
        dict[_ExternalId, ConferenceInvitee],
        Meta(max_length=MAX_INVITEES, description="By external id; each gets a token, and an invitation if wanted."),
    ] = {}


class ConferenceReply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The conference. owner_token, users_tokens: client access tokens (by external id) that open sessions."""

    conference_id: str
    conference_alias: str
    conference_pincode: str | None = None
    is_protected: bool = False
    owner_token: str | None = None
    users_tokens: dict[str, str] = {}


class ConferenceParticipant(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A participant. last_join_timestamp: Unix milliseconds. nb_session: its sessions in the conference."""

    user_id: str
    external_id: str | None
    name: str | None
    avatar_url: str | None
    last_join_timestamp: int
    nb_session: int


class ConferenceParticipants(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    participants: tuple[ConferenceParticipant, ...]


class ConferenceKick(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of `POST /v2/conferences/{id}/kick`."""

    external_ids: Annotated[tuple[_ExternalId, ...], Meta(min_length=1, max_length=MAX_INVITEES)]


class ConferenceInvite(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /v2/conferences/{id}/invite`."""

    participants: Annotated[dict[_ExternalId, ConferenceInvitee], Meta(min_length=1, max_length=MAX_INVITEES)]


class ConferenceMessage(msgspec.Struct, frozen=True, kw_only=True, rename={"sender": "from"}):
    """The body of `POST /v2/conferences/{id}/message`. sender: external id of the author, who need not be there. to:
    external ids; none is all."""

    sender: _ExternalId
    message: str
    to: Annotated[tuple[_ExternalId, ...], Meta(max_length=MAX_INVITEES)] = ()


async def create_conference(call: Call[Nothing, Nothing, CreateConference]) -> ConferenceReply:
    """Opens the room of the alias, or one with a name of its own; one that is open stays as it is. Each external id
    gets a client access token, and an invitation where `notification` says so."""
    body = call.body
    name = str(uuid4()) if body.alias is None else _name_of(body.alias)
    roster = await call.context.engine.rooms.create(
        CreateRoom(
            app=call.app.key,
            room=name,
            room_id=new_room_id(call, name),
            opened_by="" if body.owner_external_id is None else participant_id_for(call, body.owner_external_id),
            ttl=body.parameters.ttl or 0.0,
            limits=limits_of(call.app),
        )
    )
    if roster.record is None:
        raise NotFoundError("The conference ended while it was created.", hint="Create it again.")
    tokens = await _invite(call, roster.record, body.participants)
    owner = body.owner_external_id
    return ConferenceReply(
        conference_id=roster.record.id,
        conference_alias=name,
        owner_token=None if owner is None else _token_for(call, owner, name, _EVERYTHING),
        users_tokens=tokens,
    )


async def list_conference_participants(call: Call[ConferencePath, Nothing, Nothing]) -> ConferenceParticipants:
    """The present participants of the conference, all pages of the roster."""
    room = await _conference(call)
    query = RosterQuery(app=call.app.key, room=room.name, limit=MAX_PAGE)
    found = [one async for one in paging.all_members(call.context.engine.rooms, query)]
    return ConferenceParticipants(
        participants=tuple(
            ConferenceParticipant(
                user_id=one.id,
                external_id=one.external_id,
                name=one.name or None,
                avatar_url=one.avatar_url or None,
                last_join_timestamp=one.joined_at,
                nb_session=one.sessions,
            )
            for one in found
        )
    )


async def kick_from_conference(call: Call[ConferencePath, Nothing, ConferenceKick]) -> Nothing:
    """Ends these participants' memberships, and keeps them out for a minute."""
    room = await _conference(call)
    for external_id in call.body.external_ids:
        participant_id = participant_id_for(call, external_id)
        await call.context.rooms.moderate(KickMember(app=call.app.key, room=room.name, participant_id=participant_id))
    return Nothing()


async def invite_to_conference(call: Call[ConferencePath, Nothing, ConferenceInvite]) -> dict[str, str]:
    """A client access token for each external id, and an invitation where `notification` says so."""
    return await _invite(call, await _conference(call), call.body.participants)


async def send_to_conference(call: Call[ConferencePath, Nothing, ConferenceMessage]) -> Nothing:
    """Sends a text to all participants, or to some, as from the author."""
    room = await _conference(call)
    body = call.body
    request = SendMessage(
        app=call.app.key,
        room=room.name,
        message_id=str(uuid4()),
        message=check_message(msgspec.json.encode(body.message)),
        on_behalf_of=participant_id_for(call, body.sender),
        to=tuple(participant_id_for(call, one) for one in body.to),
        limits=limits_of(call.app),
    )
    await call.context.engine.rooms.send(request)
    return Nothing()


async def end_conference(call: Call[ConferencePath, Nothing, Nothing]) -> Nothing:
    """Ends the conference; its participants leave, and their sessions stay open."""
    room = await _conference(call)
    await call.context.rooms.moderate(EndRoom(app=call.app.key, room=room.name))
    return Nothing()


def _name_of(alias: str) -> str:
    """The room of an alias: the platform's aliases have neither upper case nor ``#``."""
    name = alias.lower().replace("#", "")
    if not name:
        raise illegal("alias has nothing but #. Give the conference's name.")
    return check_room_name(name, "alias")


async def _conference(call: Call[ConferencePath, Any, Any]) -> RoomRecord:
    if partition_of_room_id(call.path.id) is not None:
        page = await call.context.engine.rooms.rooms(RoomQuery(app=call.app.key, room_id=call.path.id, limit=1))
        if page.items:
            return page.items[0]
    raise NotFoundError(
        "There is no such conference.", hint="Check the conferenceId; a conference ends with its last participant."
    )


async def _invite(
    call: Call[Any, Any, Any], room: RoomRecord, invitees: dict[str, ConferenceInvitee]
) -> dict[str, str]:
    wanted = tuple(participant_id_for(call, one) for one, invitee in invitees.items() if invitee.notification)
    if wanted:
        await call.context.rooms.invite(call.app, room.name, Invitees(participants=wanted))
    return {
        external_id: _token_for(call, external_id, room.name, _granted(invitee))
        for external_id, invitee in invitees.items()
    }


def _granted(invitee: ConferenceInvitee) -> tuple[RoomPermission, ...]:
    """Without permissions as much as an invitation grants (R7)."""
    if not invitee.permissions:
        return ("join", "watch", "send")
    return ("join", "watch", *(PERMISSIONS[one] for one in PERMISSIONS if one in invitee.permissions))


def _token_for(call: Call[Any, Any, Any], external_id: str, room: str, can: tuple[RoomPermission, ...]) -> str:
    # In a grant a * at the end is any rest: such a name cannot be granted alone, and is not granted.
    grants = () if room.endswith("*") else (RoomGrant(name=room, can=can),)
    tenants = call.context.tenants
    participant_id = participant_id_for(call, external_id)
    minted = mint_client_token(
        tenants.keys.ring,
        issuer=call.context.issuer,
        app=call.app.key,
        version=2,
        scopes=SESSION_SCOPES,
        now=call.now,
        random_bytes=tenants.random_bytes,
        participant_id=participant_id,
        external_id=external_id,
        life=CLIENT_TOKEN_LIFE,
        issued_after=tenants.revocations.cutoff(call.app, participant_id),
        rooms=grants,
    )
    tenants.minted.add(minted.token)
    return minted.token


_ERRORS = (ErrorCode.ROOMS_UNAVAILABLE, ErrorCode.NOT_FOUND)

ROUTES = (
    api(
        "POST /v2/conferences/create",
        create_conference,
        "Create a conference (platform)",
        CONFERENCE_CREATE,
        tag="conferences",
        errors=(ErrorCode.ROOMS_UNAVAILABLE, ErrorCode.ROOM_LIMIT_REACHED),
    ),
    api(
        "GET /v2/conferences/{id}/participants",
        list_conference_participants,
        "List a conference's participants (platform)",
        CONFERENCE_ADMIN,
        tag="conferences",
        errors=_ERRORS,
    ),
    api(
        "POST /v2/conferences/{id}/kick",
        kick_from_conference,
        "Kick participants (platform)",
        CONFERENCE_ADMIN,
        tag="conferences",
        errors=_ERRORS,
    ),
    api(
        "POST /v2/conferences/{id}/invite",
        invite_to_conference,
        "Invite participants (platform)",
        CONFERENCE_ADMIN,
        tag="conferences",
        errors=_ERRORS,
    ),
    api(
        "POST /v2/conferences/{id}/message",
        send_to_conference,
        "Send a message (platform)",
        CONFERENCE_ADMIN,
        tag="conferences",
        errors=(*_ERRORS, ErrorCode.RATE_LIMITED),
        max_body_bytes=MAX_LARGE_BODY_BYTES,
    ),
    api(
        "DELETE /v2/conferences/{id}",
        end_conference,
        "End a conference (platform)",
        CONFERENCE_DESTROY,
        tag="conferences",
        errors=_ERRORS,
    ),
)
