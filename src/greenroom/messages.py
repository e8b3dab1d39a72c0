"""Every message on the wire, and the codecs: JSON-RPC 2.0 in text frames, subprotocol ``greenroom.v1``.

Unknown fields are ignored, new fields have defaults. Instants are integer Unix milliseconds, durations seconds.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Literal

import msgspec

from greenroom.codes import ErrorCode
from greenroom.errors import GreenroomError, IllegalArgumentError, from_wire, to_wire_data
from greenroom.model import Invitation, Member, Participant, ParticipantInfo, Presence
from greenroom.validation import explain

SUBPROTOCOL = "greenroom.v1"
PATH = "/v1/session"
MAX_MESSAGE_BYTES = 32 * 1024
"""One message from a client."""
MAX_PIECE_BYTES = 64 * 1024
"""One piece of ``changed`` or ``participants.changed`` from the service."""


class _Wire(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


# -- parts ----------------------------------------------------------------------------------------------------


class WireParticipant(_Wire, frozen=True, kw_only=True):
    """A participant on the wire. What was never set is absent."""

    id: str
    revision: int
    version: int
    presence: Presence
    sessions: int
    last_seen: int | None
    external_id: str | None = None
    name: str | None = None
    avatar_url: str | None = None
    attributes: dict[str, str] | None = None
    status: str | None = None
    """Absent: `available`, or offline."""

    def to_participant(self) -> Participant:
        """The same as the SDK shows it. "" and absent are both None there."""
        info = ParticipantInfo(
            self.name or None, self.avatar_url or None, self.external_id or None, self.attributes or None
        )
        return Participant(
            id=self.id,
            info=info,
            revision=self.revision,
            version=self.version,
            presence=self.presence,
            sessions=self.sessions,
            last_seen=self.last_seen,
            shared_status=self.status,
        )


class OpenParticipant(_Wire, frozen=True):
    """Info given at `open`. if_new: name, avatar and attributes count only where no record exists (S4)."""

    name: str | None = None
    avatar_url: str | None = None
    external_id: str | None = None
    if_new: bool = False
    attributes: dict[str, str | None] | None = None
    """What to change; null removes one."""


class Device(_Wire, frozen=True):
    """One installation of an app, named by the client."""

    id: str | None = None
    name: str | None = None


class SdkVersion(_Wire, frozen=True):
    """Which SDK is talking."""

    name: str = ""
    version: str = ""


class WireSession(_Wire, frozen=True):
    """grace in seconds; expires_at: Unix milliseconds of the token's end; server_time: Unix milliseconds at the reply,
    so that an SDK whose device has a wrong clock can count with the service's (None: a service that does not say)."""

    id: str
    generation: int
    grace: float
    expires_at: int
    server_time: int | None = None
    status: str | None = None
    """Absent: `available`."""


class WireLimits(_Wire, frozen=True):
    """What a connection may send before the service closes it. None: a service that does not say.

    In a member of its own, because SDKs of version 0.1 read `capabilities` as a list of texts.
    """

    messages_per_second: float | None = None
    messages_burst: int | None = None
    max_ids: int | None = None
    """Ids in one `participants.get` or `participants.watch`."""


class Retry(_Wire, frozen=True, omit_defaults=False):
    """Come back after ``after`` seconds and a random part of ``jitter`` seconds."""

    after: float
    jitter: float = 0.0


class By(_Wire, frozen=True):
    """Which device did it."""

    device: Device | None = None


class WireMember(_Wire, frozen=True, kw_only=True):
    """A member of a room. presence: of its sessions in the room. joined_at: Unix milliseconds."""

    id: str
    joined_at: int
    presence: Presence = Presence.ONLINE
    sessions: int = 1
    external_id: str | None = None
    name: str | None = None
    avatar_url: str | None = None
    status: str | None = None
    """Absent: `available`."""
    attributes: dict[str, str] | None = None

    def to_member(self) -> Member:
        """The same as the SDK shows it."""
        info = ParticipantInfo(
            self.name or None, self.avatar_url or None, self.external_id or None, self.attributes or None
        )
        return Member(
            id=self.id,
            info=info,
            presence=self.presence,
            sessions=self.sessions,
            joined_at=self.joined_at,
            shared_status=self.status,
        )


class WireRoster(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    """A roster, or what differs from version `since` (then `members` are those that came or changed, `left` those that
    went). Without `since` it replaces what the client has. cursor: there is more, to be had with `rooms.members`."""

    room: str
    version: int
    count: int
    members: list[WireMember] = []
    left: list[str] = []
    since: int | None = None
    cursor: str | None = None
    detailed: bool = True
    """False: members are not named in changes; `rooms.changed` brings the count."""
    id: str | None = None
    """The room's (the platform's conferenceId); absent where it is not open."""


class WireInvitation(_Wire, frozen=True, kw_only=True):
    """An invitation to a room. created_at, expires_at: Unix milliseconds. inviter absent: the app's backend."""

    id: str
    room: str
    created_at: int
    expires_at: int
    inviter: str | None = None
    inviter_name: str | None = None
    text: str | None = None

    def to_invitation(self) -> Invitation:
        """The same as the SDK shows it, which knows the invitee: itself."""
        return Invitation(
            id=self.id,
            room=self.room,
            inviter=self.inviter or "",
            inviter_name=self.inviter_name or "",
            text=self.text or "",
            created_at=self.created_at,
            expires_at=self.expires_at,
        )


# -- params, client to service --------------------------------------------------------------------------------


class OpenParams(_Wire, frozen=True, kw_only=True):
    token: str
    open_id: str
    resume_secret: str
    participant: OpenParticipant = OpenParticipant()
    device: Device = Device()
    sdk: SdkVersion = SdkVersion()
    status: str | None = None
    """Of the new session, where the token has `session:update`: an SDK that opens again keeps it."""


class ResumeParams(_Wire, frozen=True, kw_only=True):
    session_id: str
    resume_secret: str
    next_secret: str
    attempt: int
    token: str | None = None
    watching: list[tuple[str, int]] = []
    watching_rooms: list[tuple[str, int]] = []
    """Rooms that the client watches, with the versions of the rosters it has."""
    rosters: bool = False
    """Also bring the rosters of the rooms that the session is in, and watch these: of a client that was started again,
    and does not know them."""


class CloseParams(_Wire, frozen=True):
    session_id: str | None = None
    resume_secret: str | None = None


class RefreshTokenParams(_Wire, frozen=True):
    token: str


class UpdateParams(_Wire, frozen=True, kw_only=True):
    update_id: str
    name: str | None = None
    avatar_url: str | None = None
    if_revision: int | None = None
    attributes: dict[str, str | None] | None = None
    """What to change; null removes one."""


class SetStatusParams(_Wire, frozen=True):
    """status: `available`, `away`, `busy`, or a text of 1 to 64 characters of the app's own."""

    status: str


class ParticipantsParams(_Wire, frozen=True, kw_only=True):
    ids: list[str] = []
    external_ids: list[str] = []
    known: list[tuple[str, int]] = []


class CreateRoomParams(_Wire, frozen=True, kw_only=True):
    """ttl: seconds that the room outlasts its last member, at most 600; absent: 0. detailed: False makes it a counted
    room."""

    room: str
    ttl: float | None = None
    detailed: bool = True


class RoomParams(_Wire, frozen=True):
    room: str


class FindRoomParams(_Wire, frozen=True):
    room_id: str


class RoomsParams(_Wire, frozen=True, kw_only=True):
    """known: rooms with the versions of the rosters that the client has; answered is what differs."""

    rooms: list[str] = []
    known: list[tuple[str, int]] = []


class RoomMembersParams(_Wire, frozen=True, kw_only=True):
    room: str
    cursor: str | None = None


class SendParams(_Wire, frozen=True, kw_only=True):
    """message: any JSON, 16 KiB. to: participants; empty: all members."""

    room: str
    message_id: str
    message: msgspec.Raw
    to: list[str] = []


class KickMemberParams(_Wire, frozen=True, kw_only=True):
    """seconds: for which the participant stays out, absent: 60."""

    room: str
    participant_id: str
    seconds: float | None = None


class InviteParams(_Wire, frozen=True, kw_only=True):
    room: str
    participant_ids: list[str] = []
    external_ids: list[str] = []
    text: str | None = None


class AnswerParams(_Wire, frozen=True, kw_only=True):
    invitation_id: str
    accept: bool


class NoParams(_Wire, frozen=True):
    pass


# -- results --------------------------------------------------------------------------------------------------


class OpenResult(_Wire, frozen=True, kw_only=True, omit_defaults=False):
    session: WireSession
    participant: WireParticipant
    scopes: list[str]
    capabilities: list[str] = []
    changed: list[WireParticipant] = []
    limits: WireLimits | msgspec.UnsetType = msgspec.UNSET
    rooms: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Of a resumed session: where it is. Absent: in no room."""
    lost_rooms: list[tuple[str, str]] | msgspec.UnsetType = msgspec.UNSET
    """Of a resumed session: rooms that it lost meanwhile, with the reasons."""
    rosters: list[WireRoster] | msgspec.UnsetType = msgspec.UNSET
    """Of rooms in `watchingRooms`, as far as they differ, and what `rosters` asked for. Absent: none is watched."""
    invitations: list[WireInvitation] | msgspec.UnsetType = msgspec.UNSET
    """Those that wait for an answer."""


class RefreshTokenResult(_Wire, frozen=True, omit_defaults=False):
    expires_at: int
    scopes: list[str]


class ParticipantResult(_Wire, frozen=True, omit_defaults=False):
    participant: WireParticipant


class ParticipantsResult(_Wire, frozen=True, omit_defaults=False):
    participants: list[WireParticipant]


class RosterResult(_Wire, frozen=True, omit_defaults=False):
    roster: WireRoster
    watching: bool = True
    """Whether `rooms.changed` follows: the session may watch the room."""


class RoomFoundResult(_Wire, frozen=True):
    """The name of the room that has the id: what all other methods take."""

    room: str


class RostersResult(_Wire, frozen=True, omit_defaults=False):
    rosters: list[WireRoster]


class RoomMembersResult(_Wire, frozen=True):
    version: int
    count: int
    members: list[WireMember] = []
    cursor: str | None = None


class Empty(_Wire, frozen=True):
    pass


# -- notifications, service to client --------------------------------------------------------------------------


class ParticipantsChanged(_Wire, frozen=True, omit_defaults=False):
    participants: list[WireParticipant]


class RoomChanged(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    """A roster changed from `since` to `version`. It counts only on a roster held at or above `since`; else the roster
    is asked for again. ended: the room is no more, until it is opened again."""

    room: str
    version: int
    since: int
    count: int
    joined: list[WireMember] = []
    changed: list[WireMember] = []
    left: list[tuple[str, str]] = []
    """Participants with the reasons."""
    ended: bool = False
    id: str | None = None
    """The room's (the platform's conferenceId); absent where it is not open."""


class RoomMessageReceived(_Wire, frozen=True, kw_only=True):
    """from: the sending participant; absent: the app's backend."""

    room: str
    number: int
    message: msgspec.Raw
    sender: str | None = msgspec.field(default=None, name="from")


class RoomMessagesMissed(_Wire, frozen=True):
    """So many messages of the room were not sent to this client: it read too slowly."""

    room: str
    count: int


class RoomInvited(_Wire, frozen=True):
    invitation: WireInvitation


class RoomInvitationAnswered(_Wire, frozen=True):
    invitation_id: str
    room: str
    participant_id: str
    accepted: bool


class RoomLeft(_Wire, frozen=True):
    """The session is no longer in the room: `kicked`, `ended`, `permission_lost`, `lost`."""

    room: str
    reason: str


class RoomUnwatched(_Wire, frozen=True):
    """Changes of the room follow no more: the session may not watch it (`permission_lost`). A member stays one, whose
    roster is empty, as after a join that may not watch."""

    room: str
    reason: str


class TokenExpiring(_Wire, frozen=True, omit_defaults=False):
    expires_at: int


class SessionEnded(_Wire, frozen=True, kw_only=True, omit_defaults=False):
    reason: str
    message: str = ""
    retry: Retry | None = None
    by: By | None = None


class MoveOn(_Wire, frozen=True, omit_defaults=False):
    """reason: ``draining`` where the node is well and serves until the session has moved; else it is fenced (S9)."""

    after: float
    jitter: float
    reason: str = ""


METHODS: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]] = {
    "session.open": (OpenParams, OpenResult),
    "session.resume": (ResumeParams, OpenResult),
    "session.close": (CloseParams, Empty),
    "session.refreshToken": (RefreshTokenParams, RefreshTokenResult),
    "session.updateParticipantInfo": (UpdateParams, ParticipantResult),
    "session.setStatus": (SetStatusParams, ParticipantResult),
    "session.getParticipant": (NoParams, ParticipantResult),
    "participants.get": (ParticipantsParams, ParticipantsResult),
    "participants.watch": (ParticipantsParams, ParticipantsResult),
    "participants.unwatch": (ParticipantsParams, Empty),
    "rooms.create": (CreateRoomParams, RosterResult),
    "rooms.join": (RoomParams, RosterResult),
    "rooms.leave": (RoomParams, Empty),
    "rooms.watch": (RoomsParams, RostersResult),
    "rooms.unwatch": (RoomsParams, Empty),
    "rooms.members": (RoomMembersParams, RoomMembersResult),
    "rooms.find": (FindRoomParams, RoomFoundResult),
    "rooms.send": (SendParams, Empty),
    "rooms.kick": (KickMemberParams, Empty),
    "rooms.invite": (InviteParams, Empty),
    "rooms.answer": (AnswerParams, Empty),
    "ping": (NoParams, Empty),
}
"""Requests: method to (params, result)."""

NOTIFICATIONS: dict[str, type[msgspec.Struct]] = {
    "participants.changed": ParticipantsChanged,
    "session.tokenExpiring": TokenExpiring,
    "session.ended": SessionEnded,
    "session.moveOn": MoveOn,
    "session.stay": Empty,
    "rooms.changed": RoomChanged,
    "rooms.message": RoomMessageReceived,
    "rooms.missed": RoomMessagesMissed,
    "rooms.invited": RoomInvited,
    "rooms.answered": RoomInvitationAnswered,
    "rooms.left": RoomLeft,
    "rooms.unwatched": RoomUnwatched,
}
"""Notifications from service to client: method to params."""

SCOPE_OF_METHOD: dict[str, str] = {
    "session.updateParticipantInfo": "session:update",
    "session.setStatus": "session:update",
    "participants.get": "notifications:set",
    "participants.watch": "notifications:set",
    "participants.unwatch": "notifications:set",
}
"""Which session scope a method needs; methods that are not listed need none."""


# -- the codec of the service ---------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True):
    """A request as the service reads it; params stay raw until the method is known."""

    jsonrpc: Literal["2.0"]
    method: str = ""
    id: int | str | None = None
    params: msgspec.Raw = msgspec.Raw(b"")
    # A response from the client to a request we never sent has one of these and no method: ignored (S19).
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _Reply(msgspec.Struct, frozen=True):
    id: int | str | None
    result: Any
    jsonrpc: str = "2.0"


class WireError(msgspec.Struct, frozen=True):
    """A JSON-RPC error object."""

    code: int
    message: str
    data: dict[str, Any] = {}

    def to_error(self) -> GreenroomError:
        """The typed error."""
        return from_wire(self.code, self.message, self.data)


class _ErrorReply(msgspec.Struct, frozen=True):
    id: int | str | None
    error: WireError
    jsonrpc: str = "2.0"


class _Notification(msgspec.Struct, frozen=True):
    method: str
    params: Any
    jsonrpc: str = "2.0"


class _OutRequest(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: Any
    jsonrpc: str = "2.0"


_request_decoder = msgspec.json.Decoder(Request)
_params_decoders = {method: msgspec.json.Decoder(params) for method, (params, _) in METHODS.items()}
_encoder = msgspec.json.Encoder()
_NO_PARAMS = b"{}"


class HalfPairError(IllegalArgumentError):
    """Params with half a surrogate pair somewhere. request_id: of the request, which is readable but for that."""

    def __init__(self, request_id: int | str) -> None:
        super().__init__("A text in params has half a surrogate pair in it.", hint="Leave it out: it is no character.")
        self.request_id = request_id


def decode_request(data: bytes) -> Request:
    """What a client sent. Raises IllegalArgumentError with code PARSE_ERROR (not JSON) or INVALID_REQUEST, and
    HalfPairError."""
    try:
        request = _request_decoder.decode(data)
    except msgspec.ValidationError as error:
        problem = _explain(error, data, Request, "message")
        raise IllegalArgumentError(problem, hint="", code=ErrorCode.INVALID_REQUEST) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        request_id = _id_despite_half_pair(data)
        if request_id is not None:
            raise HalfPairError(request_id) from None
        raise IllegalArgumentError(f"The message is not JSON: {error}.", code=ErrorCode.PARSE_ERROR) from None
    if isinstance(request.id, str) and len(request.id) > 64:
        raise IllegalArgumentError("An id may have at most 64 characters.", code=ErrorCode.INVALID_REQUEST)
    return request


def _id_despite_half_pair(data: bytes) -> int | str | None:
    """The id of a message that is refused for half a surrogate pair in its params alone, else None.

    It is grammatical JSON (RFC 8259, section 8.2), though msgspec takes none of it: its sender waits for an answer.
    """
    if b"\\u" not in data:
        return None
    try:
        message = json.loads(data, parse_constant=_no_constant)
        if _is_unicode(json.dumps(message.pop("params"), ensure_ascii=False)):
            return None
        return _request_decoder.decode(json.dumps(message)).id
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError):
        return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(name)


def decode_params(method: str, raw: msgspec.Raw) -> Any:
    """The typed params of a method of METHODS. Raises IllegalArgumentError naming the field."""
    data = bytes(raw)
    decode = _params_decoders[method].decode
    try:
        return decode(data or _NO_PARAMS)
    except msgspec.ValidationError as error:
        without = _without_nulls(data)
        if without != data:
            with contextlib.suppress(msgspec.ValidationError):
                return decode(without)
        problem = _explain(error, data, METHODS[method][0], "parameters")
        raise IllegalArgumentError(f"{method}: {problem}", hint="") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IllegalArgumentError(f"{method}: {error}.") from None


def _without_nulls(data: bytes) -> bytes:
    """The same JSON without members that are null: null is absent, wherever it stands. What is not read that way stays
    as it is: an item of a list has its place, and an attribute that is null is removed."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: member if key == "attributes" else stripped(member)
                for key, member in value.items()
                if member is not None
            }
        return value

    if b"null" not in data:
        return data
    value = msgspec.json.decode(data)
    return _encoder.encode({} if value is None else stripped(value))


def _explain(error: msgspec.ValidationError, data: bytes, kind: type[Any], where: str) -> str:
    try:
        return explain(error, msgspec.json.decode(data), kind, where)
    except (RecursionError, msgspec.MsgspecError, UnicodeDecodeError):
        return f"The {where} must be a JSON object."


def encode_reply(request_id: int | str | None, result: msgspec.Struct) -> bytes:
    """A successful answer."""
    return _encoder.encode(_Reply(request_id, result))


def encode_error(request_id: int | str | None, error: GreenroomError) -> bytes:
    """An answer that says what went wrong."""
    return _encoder.encode(_ErrorReply(request_id, WireError(int(error.code), error.message, to_wire_data(error))))


def encode_notification(method: str, params: msgspec.Struct) -> bytes:
    """A notification: the other side does not answer it."""
    return _encoder.encode(_Notification(method, params))


# -- the codec of a client ------------------------------------------------------------------------------------


class Incoming(msgspec.Struct, frozen=True):
    """What the service sent: a reply (id with result or error) or a notification (method)."""

    id: int | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: WireError | None = None


_incoming_decoder = msgspec.json.Decoder(Incoming)
_result_decoders = {method: msgspec.json.Decoder(result) for method, (_, result) in METHODS.items()}
_notification_decoders = {method: msgspec.json.Decoder(params) for method, params in NOTIFICATIONS.items()}


def encode_request(request_id: int, method: str, params: msgspec.Struct) -> bytes:
    """A request of a client."""
    return _encoder.encode(_OutRequest(request_id, method, params))


def decode_incoming(data: bytes | str) -> Incoming:
    """What the service sent. Raises msgspec.MsgspecError."""
    return _incoming_decoder.decode(data)


def decode_result(method: str, raw: msgspec.Raw) -> Any:
    """The typed result of a method. Raises msgspec.MsgspecError."""
    return _result_decoders[method].decode(bytes(raw) or _NO_PARAMS)


def decode_notification(method: str, raw: msgspec.Raw) -> Any:
    """The typed params of a notification, or None where this SDK does not know it. Raises msgspec.MsgspecError."""
    decoder = _notification_decoders.get(method)
    return None if decoder is None else decoder.decode(bytes(raw) or _NO_PARAMS)
