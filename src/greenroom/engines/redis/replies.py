"""Replies of the Lua functions as records, and refusals as errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.presence import AVAILABLE
from greenroom.core.profile import too_many_attributes
from greenroom.core.requests import EndRequest, OpenRequest
from greenroom.engines.base import issuer_taken
from greenroom.engines.redis.arguments import CREATED, GRANTS
from greenroom.engines.redis.store import Reply
from greenroom.errors import (
    ConflictError,
    GreenroomError,
    IllegalArgumentError,
    InvitationAnsweredError,
    NotAMemberError,
    NotFoundError,
    ParticipantBlockedError,
    RateLimitedError,
    RevisionConflictError,
    RoomEndingError,
    RoomLimitError,
    RoomPermissionError,
    ScopeMissingError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenInvalidError,
    TooManySessionsError,
)
from greenroom.model import (
    EndReason,
    Invitation,
    ParticipantRecord,
    Presence,
    RegistryState,
    RoomGrant,
    SessionRecord,
    TimelineEntry,
)

_participant_decoder = msgspec.json.Decoder(ParticipantRecord)
_invitation_decoder = msgspec.json.Decoder(Invitation)
_attributes_decoder = msgspec.json.Decoder(dict[str, str])
_rooms_decoder = msgspec.json.Decoder(tuple[str, ...])
_lost_decoder = msgspec.json.Decoder(tuple[tuple[str, str], ...])
_timeline_decoder = msgspec.json.Decoder(TimelineEntry)
_STATES = {state.value.encode(): state for state in RegistryState}
_PRESENCES = {presence.value.encode(): presence for presence in Presence}


def decode_invitation(data: bytes) -> Invitation:
    """As it is kept."""
    return _invitation_decoder.decode(data)


def decode_participant(data: bytes) -> ParticipantRecord:
    """The JSON form, in which changes and results of updates come."""
    return _participant_decoder.decode(data)


def participant(flat: list[bytes]) -> ParticipantRecord:
    """A participant's hash as HGETALL gives it."""
    get = dict(zip(flat[::2], flat[1::2], strict=True)).get
    count = int(get(b"n", b"0"))
    connected = int(get(b"on", b"0"))
    xid, seen, attributes, status = get(b"xid"), get(b"seen"), get(b"attrs"), get(b"status")
    return ParticipantRecord(
        app=get(b"app", b"").decode(),
        id=get(b"id", b"").decode(),
        external_id=None if xid is None else xid.decode(),
        name=get(b"name", b"").decode(),
        avatar_url=get(b"avatar", b"").decode(),
        revision=int(get(b"rev", b"0")),
        version=int(get(b"ver", b"0")),
        presence=Presence.OFFLINE if not count else Presence.ONLINE if connected else Presence.UNREACHABLE,
        shown=_PRESENCES.get(get(b"shown", b"offline"), Presence.OFFLINE),
        sessions=count,
        last_seen=None if seen is None else int(seen),
        attributes=_attributes_decoder.decode(attributes) if attributes else None,
        status=status.decode() if status else None,
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)


_decode_grants = msgspec.json.Decoder(tuple[RoomGrant, ...]).decode


def _rights(stored: str) -> tuple[tuple[str, ...], tuple[RoomGrant, ...]]:
    """Scopes, and grants in rooms, of `arguments.rights`."""
    if not stored:
        return (), ()
    words = stored.split(" ")
    if not words[-1].startswith(GRANTS):
        return tuple(words), ()
    return tuple(words[:-1]), _decode_grants(words[-1][len(GRANTS) :])


def _rooms_of(stored: bytes | None) -> tuple[str, ...]:
    return _rooms_decoder.decode(stored) if stored else ()


def lost_rooms(flat: list[bytes]) -> tuple[tuple[str, str], ...]:
    """Of a session's hash: the rooms that it lost, with the reasons."""
    stored = dict(zip(flat[::2], flat[1::2], strict=True)).get(b"lost")
    return _lost_decoder.decode(stored) if stored else ()


_CREATED = tuple(name.rstrip("?").encode() for name in CREATED)


def _fields(flat: list[bytes]) -> dict[bytes, bytes]:
    """Of a session's hash as HGETALL gives it."""
    stored = dict(zip(flat[::2], flat[1::2], strict=True))
    packed = stored.get(b"v2")
    if packed is None:
        return stored
    made = zip(_CREATED, packed.split(b"\0"), strict=False)  # what a later version puts behind them is its own
    return {name: value for name, value in made if value} | stored


def session(flat: list[bytes], timeline: list[bytes] | None = None) -> SessionRecord:
    """A session's hash as HGETALL gives it."""
    get = _fields(flat).get
    reason = get(b"reason")
    scopes, grants = _rights(get(b"scopes", b"").decode())
    return SessionRecord(
        id=get(b"id", b"").decode(),
        app=get(b"app", b"").decode(),
        participant_id=get(b"pid", b"").decode(),
        external_id=_text(get(b"xid")),
        generation=int(get(b"gen", b"1")),
        state=_STATES.get(get(b"state", b"attached"), RegistryState.ATTACHED),
        node=get(b"node", b"").decode(),
        lease=get(b"lease", b"").decode(),
        opened_at=int(get(b"opened", b"0")),
        detached_at=_number(get(b"detached")),
        ended_at=_number(get(b"ended")),
        end_reason=None if reason is None else EndReason(reason.decode()),
        end_text=get(b"text", b"").decode(),
        device_id=_text(get(b"dev")),
        device_name=_text(get(b"devname")),
        sdk=get(b"sdk", b"").decode(),
        address=get(b"addr", b"").decode(),
        jti=get(b"jti", b"").decode(),
        token_issued_at=int(get(b"iat", b"0")),
        token_expires_at=int(get(b"exp", b"0")),
        token_grace_since=_number(get(b"tg") or None),
        scopes=scopes,
        room_grants=grants,
        status=_text(get(b"status") or None),
        rooms=_rooms_of(get(b"rooms")),
        timeline=tuple(map(_timeline_decoder.decode, timeline)) if timeline else (),
    )


def created(request: OpenRequest, opened_at: int) -> SessionRecord:
    """The session that an open made: the request says all of it but when."""
    token = request.token
    return SessionRecord(
        id=request.session_id,
        app=request.app,
        participant_id=request.participant_id,
        external_id=request.external_id,
        node=request.node,
        lease=request.lease,
        opened_at=opened_at,
        device_id=request.device_id,
        device_name=request.device_name,
        sdk=request.sdk,
        address=request.address,
        jti=token.jti,
        token_issued_at=token.issued_at,
        token_expires_at=token.expires_at,
        scopes=token.scopes,
        room_grants=token.room_grants,
        status=None if request.status == AVAILABLE else request.status,
    )


def ended(request: EndRequest, flat: list[bytes], ended_at: int) -> SessionRecord:
    """A session that was closed, as it was while owned. What an end does not need is left out."""
    stored = _fields(flat)
    get = stored.get
    return SessionRecord(
        id=request.session_id,
        app=stored[b"app"].decode(),
        participant_id=stored[b"pid"].decode(),
        external_id=_text(get(b"xid")),
        generation=int(stored[b"gen"]),
        state=_STATES[stored[b"state"]],
        node=stored[b"node"].decode(),
        lease=stored[b"lease"].decode(),
        opened_at=int(stored[b"opened"]),
        detached_at=_number(get(b"detached")),
        ended_at=ended_at,
        end_reason=request.reason,
        end_text=request.text,
        device_id=_text(get(b"dev")),
        device_name=_text(get(b"devname")),
        rooms=_rooms_of(get(b"rooms")),
    )


def _recovering(_: dict[str, Any]) -> GreenroomError:
    return ServiceUnavailableError(code=ErrorCode.ENGINE_RECOVERING, retry_after=2.0)


def _conflict(details: dict[str, Any]) -> GreenroomError:
    return RevisionConflictError(participant=decode_participant(details["participant"].encode()))


_ERRORS: dict[bytes, Callable[[dict[str, Any]], GreenroomError]] = {
    b"recovering": _recovering,
    b"fenced": lambda _: ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0),
    b"state_lost": lambda _: SessionEndedError(code=ErrorCode.STATE_LOST),
    b"open_id_conflict": lambda _: SessionEndedError(code=ErrorCode.OPEN_ID_CONFLICT),
    b"ended": lambda details: SessionEndedError(end_reason=details.get("end_reason")),
    b"disabled": lambda _: TokenInvalidError(code=ErrorCode.APPLICATION_DISABLED),
    b"superseded": lambda _: SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED),
    b"resume_refused": lambda _: SessionEndedError(code=ErrorCode.RESUME_REFUSED),
    b"too_many": lambda _: TooManySessionsError(),
    b"application_limit": lambda _: TooManySessionsError(code=ErrorCode.APPLICATION_LIMIT_REACHED),
    b"scope": lambda details: ScopeMissingError(scope=details["scope"]),
    b"blocked": lambda details: ParticipantBlockedError(until=details.get("until")),
    b"revoked": lambda _: TokenInvalidError(code=ErrorCode.TOKEN_REVOKED),
    b"token_mismatch": lambda _: TokenInvalidError(code=ErrorCode.TOKEN_MISMATCH),
    b"not_found": lambda _: NotFoundError(),
    b"conflict": _conflict,
    b"attributes": lambda details: too_many_attributes(details["count"], details["size"]),
    b"restrictions": lambda _: IllegalArgumentError(
        "The application has too many blocks that never end.",
        hint="Lift blocks that are no longer needed, or give them an end.",
    ),
    b"room_limit": lambda _: RoomLimitError(
        "The session is in as many rooms as a session may be.", hint="Leave one first."
    ),
    b"rooms_limit": lambda _: RoomLimitError("The application has reached its limit of rooms."),
    b"room_ending": lambda _: RoomEndingError(retry_after=1.0),
    b"room_permission": lambda _: RoomPermissionError(permission="kick"),
    b"not_a_member": lambda _: NotAMemberError(),
    b"no_invitation": lambda _: NotFoundError(
        "The invitation does not exist.", hint="It has expired or was withdrawn: ask for another one."
    ),
    b"invitation_answered": lambda details: InvitationAnsweredError(accepted=details["accepted"]),
    b"no_room": lambda _: NotFoundError("There is no such room."),
    b"rate_limited": lambda details: RateLimitedError(
        "Too much is sent to the room.", retry_after=min(details["retry_after"] / 1000, 1.0)
    ),
    b"version": lambda _: ConflictError(),
    b"issuer_taken": lambda _: issuer_taken(),
}


def accepted(reply: Reply | GreenroomError) -> Reply:
    """What follows ``ok``. Raises the error that a refusal stands for, or that the call failed with."""
    if isinstance(reply, GreenroomError):
        raise reply
    if reply[0] == b"ok":
        return reply[1:]
    make = _ERRORS.get(reply[1])
    if make is None:
        raise ServiceUnavailableError(f"The engine answered {reply[1]!r}, which this version does not know.")
    raise make(msgspec.json.decode(reply[2]))
