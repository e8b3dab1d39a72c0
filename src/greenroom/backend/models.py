"""What the server API answers. Instants are Unix milliseconds; what a newer service adds is ignored."""

from __future__ import annotations

from typing import Any

import msgspec


class _Reply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class DeviceInfo(_Reply, frozen=True, kw_only=True):
    """A device as the client named it; None where it did not."""

    id: str | None = None
    name: str | None = None


class SessionInfo(_Reply, frozen=True, kw_only=True):
    """A session. state: ``attached``, ``detached`` or ``closed``. since: when that began. end_reason: None while it has
    not ended. token_expires_at: Unix seconds."""

    id: str
    participant_id: str
    external_id: str | None
    state: str
    since: int
    generation: int
    node: str
    opened_at: int
    detached_at: int | None
    ended_at: int | None
    end_reason: str | None
    end_text: str
    device: DeviceInfo
    sdk: str
    address: str
    token_expires_at: int
    scopes: tuple[str, ...]
    status: str = "available"
    """What its client set."""


class ServiceEvent(_Reply, frozen=True, kw_only=True):
    """Something that happened, as `Backend.events` and webhooks report it.

    id: the same at every delivery: keep it to notice a repeat. participant_id, session_id: None where the event is
    about none. data: by type; see the reference of events.
    """

    id: str
    type: str
    at: int
    app_key: str
    participant_id: str | None
    session_id: str | None
    data: dict[str, Any]


class KickResult(_Reply, frozen=True, kw_only=True):
    """ended: ids of the sessions that this ended. cutoff: tokens issued until then are revoked (Unix seconds).
    blocked_until: None where the participant is not blocked, or for good (`blocked` says which)."""

    participant_id: str
    ended: tuple[str, ...]
    cutoff: int
    blocked: bool
    blocked_until: int | None


class BlockInfo(_Reply, frozen=True, kw_only=True):
    """A block. until: None for good."""

    participant_id: str
    until: int | None
    reason: str
    created_at: int


class ParticipantCountsInfo(_Reply, frozen=True, kw_only=True):
    """Participants with sessions."""

    online: int
    unreachable: int


class SessionCountsInfo(_Reply, frozen=True, kw_only=True):
    """Sessions that have not ended."""

    attached: int
    detached: int


class CountsInfo(_Reply, frozen=True, kw_only=True):
    """Over the whole cluster, at most 2 s old."""

    participants: ParticipantCountsInfo
    sessions: SessionCountsInfo
    at: int


class RoomInfo(_Reply, frozen=True, kw_only=True):
    """A room that is open. id: made when it was opened (platform: ``conferenceId``). version: of its roster. count:
    members. detailed: False where changes bring the count alone. ttl: seconds that it outlasts its last member.
    opened_by: participant id, None where the backend opened it. ending: it takes nobody, and its members leave."""

    name: str
    id: str
    version: int
    count: int
    detailed: bool
    ttl: float
    opened_at: int
    opened_by: str | None
    ending: bool


class InvitationInfo(_Reply, frozen=True, kw_only=True):
    """An invitation that was made, whether or not someone of that id was ever here."""

    id: str
    participant_id: str
    expires_at: int
