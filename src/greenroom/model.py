"""The records: what Greenroom knows about applications, participants, sessions and what happened to them.

Instants are integer Unix milliseconds (``…_at``, ``last_seen``), durations are seconds as float.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec

PARTITIONS = 64
"""Into how many fixed shares participants are divided. A constant of the stored format: never change it."""

MAX_EXTERNAL_ID_BYTES = 1024
"""Bytes of an external id's UTF-8."""


class Presence(StrEnum):
    """Whether a participant can be reached."""

    ONLINE = "online"
    """A session of the participant has a connection."""
    UNREACHABLE = "unreachable"
    """There are sessions, none of them connected."""
    OFFLINE = "offline"
    """There is no session."""


class EndReason(StrEnum):
    """Why a session ended."""

    CLOSED = "closed"
    TIMEOUT = "timeout"
    REPLACED = "replaced"
    KICKED = "kicked"
    BLOCKED = "blocked"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_REVOKED = "token_revoked"
    APPLICATION_DISABLED = "application_disabled"
    PROTOCOL_ERROR = "protocol_error"


class ParticipantStatus(StrEnum):
    """The platform's states of a participant. A participant of a session has CONNECTED (online), CONNECTING
    (unreachable) or LEFT (offline); the others describe participants of conferences."""

    CONNECTED = "CONNECTED"
    CONNECTING = "CONNECTING"
    DECLINE = "DECLINE"
    ERROR = "ERROR"
    INACTIVE = "INACTIVE"
    KICKED = "KICKED"
    LEFT = "LEFT"
    RESERVED = "RESERVED"
    WARNING = "WARNING"


class ParticipantType(StrEnum):
    """The platform's types of a participant. A participant of a session is a USER."""

    USER = "USER"
    LISTENER = "LISTENER"
    SPEAKER = "SPEAKER"
    MIXER = "MIXER"
    PSTN = "PSTN"
    NONE = "NONE"


class ParticipantInfo(msgspec.Struct, frozen=True):
    """Who someone is (platform: ``VTParticipantInfo``, ``ParticipantInfo``). All optional.

    name: at most 256 characters; None leaves as it is, "" clears.
    avatar_url: at most 2,048 characters, https, http or relative; None leaves as it is, "" clears.
    external_id: the app's own id, at most 1,024 bytes of UTF-8; None or "" is none.
    attributes: what else the app says of the participant (the platform had no such thing): up to 32, names of 1 to 64
    characters, values of up to 1,024 bytes of UTF-8, 4 KiB together. Given to `open` they are merged into those that
    are there, and a value that is None removes one. None: there are none, or they are left as they are.
    """

    name: str | None = None
    avatar_url: str | None = None
    external_id: str | None = None
    attributes: Mapping[str, str | None] | None = None


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """A participant as an app sees one.

    revision: counts changes of the profile. version: rises at every change; newer is higher.
    sessions: how many. last_seen: Unix milliseconds, None where never seen.
    """

    id: str
    info: ParticipantInfo = ParticipantInfo()
    revision: int = 0
    version: int = 0
    presence: Presence = Presence.OFFLINE
    sessions: int = 0
    last_seen: int | None = None
    type: ParticipantType = ParticipantType.USER
    shared_status: str | None = None
    """The status of the most available session where it is not `available`; see `availability`."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What the app says of the participant beside name and avatar; empty where nothing."""
        return self.info.attributes or {}  # type: ignore[return-value]  # what came from the service has no None

    @property
    def availability(self) -> str | None:
        """The status that the participant's sessions have set, that of the most available one: `available` (also where
        none has set one), then a text of the app's own, then `busy`, then `away`. None: there is no session."""
        return None if self.presence is Presence.OFFLINE else self.shared_status or "available"

    @property
    def status(self) -> ParticipantStatus:
        """The platform's status that stands for the presence."""
        return _STATUS_OF[self.presence]


_STATUS_OF = {
    Presence.ONLINE: ParticipantStatus.CONNECTED,
    Presence.UNREACHABLE: ParticipantStatus.CONNECTING,
    Presence.OFFLINE: ParticipantStatus.LEFT,
}


class SessionPolicy(msgspec.Struct, frozen=True, rename="camel"):
    """How many devices a participant may use, and what happens to one too many.

    max_sessions: per participant. when_full: ``reject`` or ``replace_oldest``. same_device: ``replace`` (the same
    device id takes over its own ghost) or ``allow``.
    """

    max_sessions: int = 10
    when_full: str = "reject"
    same_device: str = "replace"


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where an application wants its events posted to. secrets are stored sealed by the key ring's master key."""

    id: str
    url: str
    events: tuple[str, ...] = ()
    """Names of events, empty for all."""
    sealed_secrets: tuple[str, ...] = ()
    """At most two (the second during a rotation), newest first."""
    asymmetric: bool = False
    """Ed25519 (``v1a``) and not HMAC-SHA256 (``v1``)."""
    disabled_reason: str | None = None
    created_at: int = 0


class TokenIssuer(msgspec.Struct, frozen=True, kw_only=True):
    """Who besides the service may sign tokens that open an application's sessions. The pair of issuer and audience is
    unique on a service: from it follows the application.

    A claim is named by its member's name, or by a JSON pointer (RFC 6901) where the name begins with ``/``.
    """

    id: str
    issuer: str
    """The claim ``iss``, character by character."""
    audience: str
    """The claim ``aud``, or one of its values."""
    algorithms: tuple[str, ...]
    """``EdDSA``, ``ES256``, ``RS256``, ``PS256``; or ``HS256`` alone."""
    keys: tuple[dict[str, Any], ...] = ()
    """Public keys (RFC 7517); empty where they are fetched, or where there is a secret."""
    jwks_url: str | None = None
    """Where the key set is fetched from; None: the keys are above."""
    sealed_secret: str = ""
    """For ``HS256``, sealed by the master key; empty: none."""
    external_id_claim: str = "sub"
    external_id_prefix: str = ""
    """Stands before the claim's value in the external id."""
    name_claim: str | None = None
    avatar_url_claim: str | None = None
    rooms_claim: str | None = None
    """What the token grants in rooms (R7): a list of objects as `RoomGrant`; None: nothing."""
    session_scopes: tuple[str, ...] | None = None
    """Of sessions opened with such a token; None is all."""
    max_life: int = 86400
    """Seconds from ``iat`` to ``exp``, at most."""
    created_at: int = 0


RoomPermission = Literal["join", "watch", "send", "invite", "kick"]
"""What a token may grant in a room (R7)."""


class RoomGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token grants in rooms (R7). Unknown members are refused: ignoring a restriction would widen it."""

    name: str
    """A room's name, exactly, or with a ``*`` at its end, which is any rest."""
    can: tuple[RoomPermission, ...]


class RoomSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an application may set for its rooms (R7, R9, R12)."""

    access: str = "open"
    """``open``: whoever has a session may join what they can name; ``granted``: the token lists rooms (R7)."""
    roster_attributes: tuple[str, ...] = ()
    """Attributes of a participant that a roster shows, 1 KiB of them together."""
    invitation_ttl: float = 60.0
    """Seconds for which an invitation is kept, at most 24 h."""
    max_members: int = 10_000
    """Of one room."""
    max_rooms: int = 1_000_000
    detailed_members: int = 1_000
    """Of one detailed room, whose changes name them."""


class ApplicationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an application may set for itself. Defaults are the service's."""

    policy: SessionPolicy = SessionPolicy()
    max_application_sessions: int | None = None
    """Over all participants; None is no limit."""
    max_watched: int = 1000
    """Participants that one session may watch."""
    client_attributes: tuple[str, ...] | None = None
    """Attributes of a participant that its clients may set; the others are the backend's. None: all."""
    open_profile: str = "any"
    """``any``: name, avatar and attributes in `open` are taken with any scope, as the platform did; ``scope``: a
    difference to an existing record needs ``session:update``."""
    allow_external_id_from_client: bool = False
    """Whether a v2 token without external id may bring one at `open`."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may open sessions; empty is any."""
    keep_offline_participants: float = 30 * 86400.0
    """Seconds for which the record of an offline participant is kept."""
    rooms: RoomSettings = RoomSettings()


class ApplicationCeilings(msgspec.Struct, frozen=True, kw_only=True):
    """What an application's settings may not exceed. None: the service's ceiling alone."""

    max_application_sessions: int | None = None
    max_watched: int | None = None
    max_sessions: int | None = None
    """Of one participant (`SessionPolicy.max_sessions`)."""
    max_room_members: int | None = None
    """Of one room (`RoomSettings.max_members`)."""
    max_rooms: int | None = None
    """`RoomSettings.max_rooms`."""


class StoredSecret(msgspec.Struct, frozen=True):
    """An app secret as stored: HMAC-SHA256 with the service's pepper, hex."""

    digest: str
    created_at: int
    expires_at: int | None = None
    """During rotation the older one ends then; None is never."""


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant."""

    key: str
    name: str
    namespace: str
    """A random UUID, never reused: external ids become participant ids in it."""
    secrets: tuple[StoredSecret, ...] = ()
    disabled: bool = False
    deleted: bool = False
    """A tombstone: nothing missing is read as deleted (S15)."""
    created_at: int = 0
    settings: ApplicationSettings = ApplicationSettings()
    ceilings: ApplicationCeilings = ApplicationCeilings()
    """Set by operators."""
    webhooks: tuple[WebhookEndpoint, ...] = ()
    issuers: tuple[TokenIssuer, ...] = ()
    revoked_before: int = 0
    """Tokens of the application with ``iat`` (Unix seconds) at or below this are revoked."""
    version: int = 0
    """Rises at every change; a save names the one it was read at."""


class SealedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key as stored, encrypted by the master key."""

    kid: str
    alg: str
    sealed: bytes
    created_at: int
    retired_at: int | None = None
    """Since when it no longer signs; it still verifies until 24 h later. None is the current one."""


class ParticipantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A participant as stored.

    presence is the truth; shown is what watchers and webhooks were notified of: `unreachable` they see only after
    2 s of it. version counts changes of what is shown.
    """

    app: str
    id: str
    external_id: str | None = None
    name: str = ""
    avatar_url: str = ""
    revision: int = 0
    version: int = 0
    presence: Presence = Presence.OFFLINE
    shown: Presence = Presence.OFFLINE
    sessions: int = 0
    last_seen: int | None = None
    attributes: dict[str, str] | None = None
    """None where there are none."""
    status: str | None = None
    """Of the most available session (`core.presence.shared_status`). None is `available`, or offline."""


class RegistryState(StrEnum):
    """State of a session in the registry."""

    ATTACHED = "attached"
    DETACHED = "detached"
    CLOSED = "closed"


class TimelineEntry(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened to a session."""

    at: int
    what: str
    """opened, attached, detached, resumed, taken_back, ended, token_refreshed, …"""
    node: str = ""
    detail: str = ""


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session as stored. Ownership is (generation, lease)."""

    id: str
    app: str
    participant_id: str
    external_id: str | None = None
    generation: int = 1
    state: RegistryState = RegistryState.ATTACHED
    node: str = ""
    lease: str = ""
    opened_at: int = 0
    detached_at: int | None = None
    ended_at: int | None = None
    end_reason: EndReason | None = None
    end_text: str = ""
    device_id: str | None = None
    device_name: str | None = None
    sdk: str = ""
    address: str = ""
    jti: str = ""
    token_issued_at: int = 0
    """Unix seconds."""
    token_expires_at: int = 0
    """Unix seconds."""
    token_grace_since: int | None = None
    """Unix milliseconds, where the session was attached after its token's end: from when the grace counts that follows
    it. One for each token (S5): the end itself where the session was connected then, else the first such attach."""
    scopes: tuple[str, ...] = ()
    status: str | None = None
    """What its client set; None is `available`."""
    rooms: tuple[str, ...] = ()
    """Rooms in which the session is (R1)."""
    room_grants: tuple[RoomGrant, ...] = ()
    """What its token grants in rooms (R7)."""
    timeline: tuple[TimelineEntry, ...] = ()
    """The latest 64 entries; empty where not asked for."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a room as an app sees one: a participant with at least one session in the room.

    presence, sessions: of those in the room. joined_at: Unix milliseconds, since when it is a member without a break.
    info: its attributes are those that the application shows in rosters.
    """

    id: str
    """The participant's."""
    info: ParticipantInfo = ParticipantInfo()
    presence: Presence = Presence.ONLINE
    sessions: int = 1
    joined_at: int = 0
    shared_status: str | None = None
    """As the participant's; see `availability`."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """Those that the application shows in rosters; empty where there are none."""
        return self.info.attributes or {}  # type: ignore[return-value]  # what came from the service has no None

    @property
    def availability(self) -> str:
        """`available`, or what the participant's sessions have set, as in `Participant`."""
        return self.shared_status or "available"


class MemberRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A participant with at least one membership in a room, as a roster has it (R4)."""

    id: str
    """The participant's."""
    external_id: str | None = None
    name: str = ""
    avatar_url: str = ""
    status: str | None = None
    """As the participant's; None is `available`."""
    attributes: dict[str, str] | None = None
    """Those that the application lists as `rosterAttributes`; None where there are none."""
    presence: Presence = Presence.ONLINE
    """Of the participant's sessions in the room."""
    sessions: int = 1
    """In the room."""
    joined_at: int = 0
    """Unix milliseconds: since when it is a member without a break."""
    record_version: int = 0
    """Version of the participant whose name, avatar, status and attributes these are."""


class RoomRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A room as stored."""

    app: str
    name: str
    id: str
    """Made at opening (the platform's conferenceId); a name that is opened again gets another."""
    version: int = 0
    """Of the roster: it only grows, also across the room's end and a new beginning."""
    count: int = 0
    """Members."""
    detailed: bool = True
    """False: counted. A room does not switch (R5)."""
    ttl: float = 0.0
    """Seconds that it outlasts its last member."""
    opened_at: int = 0
    """Unix milliseconds."""
    opened_by: str = ""
    """Participant; empty: the backend."""
    ending: bool = False
    """It refuses joins, and its members leave (R11)."""


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation to a room, kept in the invitee's partition until it is answered or its time is over (R9)."""

    id: str
    room: str
    inviter: str
    """Participant; empty: the backend."""
    inviter_name: str = ""
    invitee: str = ""
    text: str = ""
    created_at: int = 0
    """Unix milliseconds."""
    expires_at: int = 0
    """Unix milliseconds."""


class InvitationAnswer(msgspec.Struct, frozen=True):
    """An invitation was answered. participant_id: who answered."""

    invitation_id: str
    room: str
    participant_id: str
    accepted: bool


class Restriction(msgspec.Struct, frozen=True, kw_only=True):
    """A block or revocation as stored (S18).

    kind: ``block`` (participant, until), ``cutoff`` (participant, tokens with iat <= before), ``jti`` (one token).
    """

    app: str
    kind: str
    subject: str
    """The participant's id (a block of an erased one: its SHA-256, prefixed ``sha256:``) or the token's jti."""
    until: int | None = None
    """Unix milliseconds; None: for good."""
    before: int = 0
    """Unix seconds, for ``cutoff``."""
    reason: str = ""
    created_at: int = 0
    lifted: bool = False
    """A tombstone."""


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that happened, as the app's backend receives it. Ordered per participant."""

    id: str
    type: str
    at: int
    app: str = ""
    participant_id: str = ""
    session_id: str | None = None
    data: dict[str, Any] = {}


NAMING_FIELDS = ("externalId", "name", "avatarUrl", "device", "text", "by", "attributes", "status")
"""Members of an event's data that identify a person. They are removed from events of an erased participant."""


def without_names(event: Event) -> Event:
    """The event without what says who it was."""
    data = {name: value for name, value in event.data.items() if name not in NAMING_FIELDS}
    return msgspec.structs.replace(event, data=data)


ERASED = "sha256:"
"""What the subject of a restriction begins with where its participant was erased."""


def erased_subject(participant_id: str) -> str:
    """The subject of a block or cut-off once the participant is erased: a hash of the id, so that the restriction
    stays and the id does not."""
    return ERASED + sha256(participant_id.encode("utf-8", "surrogatepass")).hexdigest()


def partition_of(app: str, participant_id: str) -> int:
    """The partition in which all keys of one participant live: 0 … PARTITIONS - 1."""
    return zlib.crc32(f"{app}\x00{participant_id}".encode()) % PARTITIONS


def partition_of_room(app: str, room: str) -> int:
    """The partition in which all keys of one room live: 0 … PARTITIONS - 1."""
    return zlib.crc32(f"{app}\x00room\x00{room}".encode()) % PARTITIONS


def make_room_id(partition: int, random: bytes) -> str:
    """The id of a room that is opened, from its partition and at least 16 random bytes."""
    return f"r{partition}-{random.hex()}"


def partition_of_room_id(room_id: str) -> int | None:
    """The partition a room's id begins with (``r17-…``), or None where it is not one of ours."""
    return _partition_in(room_id, "r")


def partition_of_session(session_id: str) -> int | None:
    """The partition a session id begins with (``p17-…``), or None where it is not one of ours."""
    return _partition_in(session_id, "p")


def _partition_in(text: str, letter: str) -> int | None:
    head, dash, rest = text.partition("-")
    if not dash or not rest or not head.startswith(letter) or not head[1:].isascii() or not head[1:].isdigit():
        return None
    number = int(head[1:4])
    return number if number < PARTITIONS and head == f"{letter}{number}" else None


def make_session_id(partition: int, random: bytes) -> str:
    """A session id from its partition and at least 16 random bytes."""
    return f"p{partition}-{random.hex()}"


def participant_id_of(namespace: str, external_id: str) -> str:
    """UUIDv5 of application and external id, byte for byte (S2)."""
    return str(uuid5(UUID(namespace), "ext:" + external_id))


def anonymous_participant_id(namespace: str, open_id: str) -> str:
    """UUIDv5 of application and openId: a repeated open finds the same anonymous participant (S2)."""
    return str(uuid5(UUID(namespace), "open:" + open_id))
