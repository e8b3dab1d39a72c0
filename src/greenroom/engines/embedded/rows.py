"""Rows as Python objects, and back."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec

from greenroom.core.presence import shared_status
from greenroom.core.profile import merge_attributes
from greenroom.engines.base import TIMELINE_ENTRIES
from greenroom.model import (
    EndReason,
    ParticipantRecord,
    Presence,
    RegistryState,
    RoomGrant,
    SessionRecord,
    TimelineEntry,
)

ATTACHED, DETACHED, ENDED, REMEMBERED = 0, 1, 2, 3
"""State column of a session. ENDED: its openId is still known; REMEMBERED: only its timeline is still looked at."""

_REASONS = {str(reason): reason for reason in EndReason}
_STATES = (RegistryState.ATTACHED, RegistryState.DETACHED, RegistryState.CLOSED, RegistryState.CLOSED)
PRESENCES = (Presence.OFFLINE, Presence.UNREACHABLE, Presence.ONLINE)
PRESENCE_NUMBER = {presence: number for number, presence in enumerate(PRESENCES)}
ONLINE = PRESENCE_NUMBER[Presence.ONLINE]


class ParticipantRow(msgspec.Struct, gc=False):
    """A row of participants, in the order of its columns. due, since and update_at are in the partition clock (ms): due
    is when events are due while there are sessions, and when the record is dropped while there are none."""

    n: int
    app: str
    id: str
    external_id: str | None
    name: str = ""
    avatar_url: str = ""
    revision: int = 0
    version: int = 0
    presence: int = 0
    shown: int = 0
    sessions: int = 0
    connected: int = 0
    last_seen: int | None = None
    anonymous: int = 0
    since: int | None = None
    due: int | None = None
    update_at: int = 0
    """When the next `participant.updated` may go out."""
    update_waits: int = 0
    """1: a change of the profile waits for that."""
    attributes: bytes | None = None
    """By name, as msgpack; None where there are none."""
    status: str | None = None
    """As in `ParticipantRecord`."""
    statuses: bytes | None = None
    """Statuses other than `available` by session id, the latest last; None where there are none."""
    rooms: bytes | None = None
    """Rooms in which the participant is a member, as msgpack; None where in none."""
    ended: int = 0
    """Sessions that have ended and are kept, or more than there are: some are forgotten without being counted."""

    def record(self) -> ParticipantRecord:
        return ParticipantRecord(
            app=self.app,
            id=self.id,
            external_id=self.external_id,
            name=self.name,
            avatar_url=self.avatar_url,
            revision=self.revision,
            version=self.version,
            presence=PRESENCES[self.presence],
            shown=PRESENCES[self.shown],
            sessions=self.sessions,
            last_seen=self.last_seen,
            attributes=None if self.attributes is None else _decode_attributes(self.attributes),
            status=self.status,
        )

    def attributes_by_name(self) -> dict[str, str] | None:
        return None if self.attributes is None else _decode_attributes(self.attributes)

    def change_attributes(self, changes: dict[str, str | None] | None) -> bytes | None:
        """The attributes after the changes, None where there are none. Raises IllegalArgumentError where they would be
        too many."""
        if changes is None:
            return self.attributes
        merged = merge_attributes(self.attributes_by_name(), changes)
        return None if merged is None else _encode(merged)

    def set_status(self, session_id: str, status: str | None) -> None:
        """A session's status; None where it is `available`, or the session has ended. The caller then calls
        `share_status` and saves the row."""
        statuses = {} if self.statuses is None else _decode_attributes(self.statuses)
        statuses.pop(session_id, None)
        if status is not None:
            statuses[session_id] = status
        self.statuses = _encode(statuses) if statuses else None

    def share_status(self) -> bool:
        """Works out the status that follows from those of the sessions. Whether it changed."""
        statuses = {} if self.statuses is None else _decode_attributes(self.statuses)
        before, self.status = self.status, shared_status(statuses.values(), self.sessions)
        return self.status != before


class SessionHead(msgspec.Struct, array_like=True, gc=False):
    """How `SessionData` begins. Lists decode it alone."""

    id: str
    participant_id: str
    external_id: str | None
    open_id: str
    first_secret: bytes
    secret: bytes
    previous_secret: bytes
    attempt: int
    generation: int
    node: str


class SessionData(SessionHead, array_like=True, gc=False):
    """What is stored of a session and never searched for. New fields go to the end, with a default."""

    order: int
    opened_at: int
    detached_at: int | None
    device_id: str | None
    device_name: str | None
    sdk: str
    address: str
    jti: str
    issued_at: int
    expires_at: int
    scopes: tuple[str, ...]
    grace_ms: int
    detach_clock: int = 0
    detach_published: bool = False
    """Whether the event of its present detach has gone out: after 2 s (promise 4)."""
    ended_at: int | None = None
    end_reason: str | None = None
    end_text: str = ""
    token_grace_since: int | None = None
    status: str | None = None
    room_grants: tuple[RoomGrant, ...] = ()
    rooms: tuple[str, ...] = ()
    """In which the session is (R1)."""
    lost_rooms: tuple[tuple[str, str], ...] = ()
    """That it lost since it was last attached, with the reasons."""


class SessionRow(msgspec.Struct, gc=False):
    """A row of sessions (but for its updates), in the order of COLUMNS; data still encoded in ``raw``."""

    n: int
    p: int
    open_key: int | None
    state: int
    due: int | None
    app: str
    lease: str
    raw: bytes
    timeline: bytes
    key: int
    decoded: SessionData | None = None

    @property
    def data(self) -> SessionData:
        if self.decoded is None:
            self.decoded = decode_data(self.raw)
        return self.decoded

    # What `core.policy` asks of a session.
    @property
    def id(self) -> str:
        return self.data.id

    @property
    def device_id(self) -> str | None:
        return self.data.device_id

    @property
    def detached_at(self) -> int | None:
        return self.data.detached_at if self.state == DETACHED else None

    @property
    def order(self) -> int:
        return self.data.order

    def record(self, *, with_timeline: bool = False) -> SessionRecord:
        data = self.decoded or self.data
        return SessionRecord(
            id=data.id,
            app=self.app,
            participant_id=data.participant_id,
            external_id=data.external_id,
            generation=data.generation,
            state=_STATES[self.state],
            node=data.node,
            lease=self.lease,
            opened_at=data.opened_at,
            detached_at=data.detached_at,
            ended_at=data.ended_at,
            end_reason=None if data.end_reason is None else _REASONS[data.end_reason],
            end_text=data.end_text,
            device_id=data.device_id,
            device_name=data.device_name,
            sdk=data.sdk,
            address=data.address,
            jti=data.jti,
            token_issued_at=data.issued_at,
            token_expires_at=data.expires_at,
            token_grace_since=data.token_grace_since,
            scopes=data.scopes,
            status=data.status,
            room_grants=data.room_grants,
            rooms=data.rooms,
            timeline=decode_timeline(self.timeline) if with_timeline else (),
        )

    def note(self, at: int, what: str, node: str = "", detail: str = "") -> None:
        """One more entry of the timeline, the oldest goes where there are too many."""
        entry = _encode(TimelineEntry(at, what, node, detail))
        self.timeline += len(entry).to_bytes(2, "big") + entry
        if len(self.timeline) > _TIMELINE_TRIM:
            self.timeline = _trim(self.timeline)


COLUMNS = "n, p, open_key, state, due, app, lease, data, timeline, key"
PARTICIPANT_COLUMNS = ", ".join(ParticipantRow.__struct_fields__)

_encode = msgspec.msgpack.Encoder().encode
encode_data = _encode
decode_data = msgspec.msgpack.Decoder(SessionData).decode
_decode_attributes = msgspec.msgpack.Decoder(dict[str, str]).decode
_decode_entry = msgspec.msgpack.Decoder(TimelineEntry).decode
_TIMELINE_TRIM = 64 * 18  # 64 entries cannot be shorter, so nothing is counted before


def _pieces(timeline: bytes) -> list[bytes]:
    pieces = []
    position = 0
    while position < len(timeline):
        end = position + 2 + int.from_bytes(timeline[position : position + 2], "big")
        pieces.append(timeline[position:end])
        position = end
    return pieces


def _trim(timeline: bytes) -> bytes:
    pieces = _pieces(timeline)
    return timeline if len(pieces) <= TIMELINE_ENTRIES else b"".join(pieces[-TIMELINE_ENTRIES:])


def decode_timeline(timeline: bytes) -> tuple[TimelineEntry, ...]:
    return tuple(_decode_entry(piece[2:]) for piece in _pieces(timeline))


def hash_key(key: bytes, text: str) -> int:
    """A 64-bit number for a row. Keyed with a secret of the file, so that nobody can make two ids collide."""
    digest = _keyed(key).copy()
    digest.update(text.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "big", signed=True)


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> blake2b:
    """The key's own block, hashed once."""
    return blake2b(digest_size=8, key=key)
