"""What is asked of an engine about rooms, and its answers: one vocabulary for the machine, the APIs and the engines."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from greenroom.core.requests import Owner
from greenroom.model import Invitation, MemberRecord, RoomRecord


class RoomLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of an application's rooms (R12): the application's settings, below the operator's ceilings."""

    members: int = 10_000
    """Of one room."""
    rooms: int = 1_000_000
    """Of the application."""
    rooms_of_session: int = 16
    detailed_members: int = 1_000
    """Of a detailed room, whose changes name them. It takes no more: a room does not switch (R5)."""
    roster_attributes: tuple[str, ...] = ()
    """Attributes of a participant that a roster shows."""
    message_bytes_per_second: int = 64 * 1024
    """Of one participant, in one room (R6)."""
    room_bytes_per_second: int = 512 * 1024
    """Of all participants together, in one room (R6)."""


class CreateRoom(msgspec.Struct, frozen=True, kw_only=True):
    """`create`: opens an empty room, which is kept for max(ttl, 60 s) without members. A room that is there already is
    a success and changes nothing."""

    app: str
    room: str
    room_id: str
    """The id that a new room gets (the platform's conferenceId)."""
    opened_by: str = ""
    """Participant; empty: the backend."""
    owner: Owner | None = None
    """The session that asks; None: the backend."""
    ttl: float = 0.0
    """How many seconds the room outlasts its last member."""
    detailed: bool = True
    limits: RoomLimits = RoomLimits()


class JoinRoom(msgspec.Struct, frozen=True, kw_only=True):
    """`join`: the session is a member from here on, and opens what is not there. A repeated join changes nothing."""

    app: str
    participant_id: str
    room: str
    room_id: str
    """As in `CreateRoom`, where this opens the room."""
    owner: Owner
    limit: int = 0
    """Members in the answered roster at most; 0: as many as `ROSTER_BYTES` holds, or of a counted room none and a
    cursor, with which they come by page."""
    brief: bool = False
    """The node has a copy of the roster, or shows nobody: of the answer it needs all but the members."""
    limits: RoomLimits = RoomLimits()


class LeaveRoom(msgspec.Struct, frozen=True, kw_only=True):
    """`leave`: the session's membership ends. Where it is in no such room that is a success."""

    app: str
    participant_id: str
    room: str
    owner: Owner
    reason: str = "left"
    """``left``, or ``permission_lost`` (R7)."""


class RosterQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One room's roster. since: the version that the asker has; answered is what differs, where the engine still knows
    (R5). cursor: a later page of a roster."""

    app: str
    room: str
    since: int | None = None
    cursor: str | None = None
    limit: int = 0
    """As in `JoinRoom`."""


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a roster, or what differs. An unknown room is empty, with the last version it had, or 0."""

    room: str
    version: int = 0
    count: int = 0
    detailed: bool = True
    members: tuple[MemberRecord, ...] = ()
    """In the order of their ids; where `since` is given those that came or changed."""
    left: tuple[str, ...] = ()
    """Participants who went; only where `since` is given."""
    since: int | None = None
    """The version that these are differences to; None: the roster replaces what the asker has."""
    cursor: str | None = None
    """Where to continue; None at the end."""
    record: RoomRecord | None = None
    """None where the room is not open."""


class RoomQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Rooms of an application: those named (unknown ones are left out), or the one with this id, or a listing."""

    app: str
    names: Sequence[str] | None = None
    room_id: str | None = None
    participant_id: str | None = None
    """Listing only: rooms in which the participant is."""
    search: str = ""
    """Listing only: whose name has this in it, upper or lower case; empty is all."""
    cursor: str | None = None
    limit: int = 100


class RoomPage(msgspec.Struct, frozen=True):
    """cursor: where to continue, None at the end."""

    items: tuple[RoomRecord, ...]
    cursor: str | None = None


class SendMessage(msgspec.Struct, frozen=True, kw_only=True):
    """`send` (R6): checks membership and budget, numbers the message and publishes it. A repeated message_id of the
    same sender gets the first number."""

    app: str
    room: str
    message_id: str
    message: bytes
    """JSON."""
    sender: str = ""
    """Participant; empty: the backend, which needs no membership."""
    session_id: str = ""
    """The sending session, which gets no echo; empty: the backend."""
    on_behalf_of: str = ""
    """Of a backend's message: the participant whom members see as its sender; empty: none."""
    to: tuple[str, ...] = ()
    """Participants; empty: all."""
    limits: RoomLimits = RoomLimits()


class KickMember(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="kick"):
    """The participant's memberships go (reason ``kicked``), and it stays out for ``seconds`` (R8)."""

    app: str
    room: str
    participant_id: str
    seconds: float = 60.0
    by: str = ""
    """Participant who asks: refused with RoomPermissionError unless it opened the room or `may_kick`; empty: the
    backend."""
    may_kick: bool = False


class EndRoom(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """The room refuses joins, and its members leave (reason ``ended``), 500 a pass (R11)."""

    app: str
    room: str


class MembershipLost(msgspec.Struct, frozen=True):
    """A session's membership that ended without its asking: its node notifies the client (`rooms.left`)."""

    session_id: str
    node: str
    generation: int
    room: str
    reason: str
    """``kicked``, ``ended``, ``lost``, ``room_full``."""


class Moderated(msgspec.Struct, frozen=True):
    """lost: memberships that this ended, whose nodes are to be notified. changed: whether there was anything to do."""

    lost: tuple[MembershipLost, ...] = ()
    changed: bool = True


class InviteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`invite` (R9), for one invitee: stored in its partition, at most 16 (the oldest goes). invitee: its id, known or
    not; the answer never says."""

    app: str
    room: str
    invitation_id: str
    inviter: str
    """Participant; empty: the backend."""
    inviter_name: str = ""
    invitee: str
    text: str = ""
    ttl: float = 60.0
    """Seconds."""


class Invited(msgspec.Struct, frozen=True):
    """Where the invitee's sessions are now: (node, session, generation) of those with a connection."""

    invitation: Invitation
    sessions: tuple[tuple[str, str, int], ...] = ()


class AnswerInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """`answer` (R9): the invitation is answered by a session of its invitee. The answer is kept as long."""

    app: str
    participant_id: str
    owner: Owner
    invitation_id: str
    accept: bool


class Answered(msgspec.Struct, frozen=True):
    """is_new: False where the invitation had been answered before, the same way."""

    invitation: Invitation
    is_new: bool = True


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass did (R2, R10, R11). lost: as in `Moderated`. more: there was more that is due."""

    lost: tuple[MembershipLost, ...] = ()
    settled: int = 0
    """Marks."""
    repaired: int = 0
    """Pairs of row and roster that differed."""
    ended: int = 0
    """Rooms."""
    lag: float = 0.0
    """Seconds since the oldest mark was made."""
    more: bool = False


class WatchRooms(msgspec.Struct, frozen=True, kw_only=True):
    """Subscribe, then read (R5). Answer: the rosters, in order; of those whose version is `known`, what differs.
    Answered by the node, which reads from the engine what it has no copy of."""

    app: str
    rooms: tuple[str, ...]
    known: dict[str, int] = {}


class UnwatchRooms(msgspec.Struct, frozen=True):
    """No longer watched. Answered by the node."""

    app: str
    rooms: tuple[str, ...]


class InviteParticipants(msgspec.Struct, frozen=True, kw_only=True):
    """An `InviteRequest` for each of these."""

    app: str
    room: str
    inviter: str
    inviter_name: str
    invitees: tuple[str, ...]
    text: str = ""


RoomRequest = (
    CreateRoom
    | JoinRoom
    | LeaveRoom
    | RosterQuery
    | RoomQuery
    | WatchRooms
    | UnwatchRooms
    | SendMessage
    | KickMember
    | InviteParticipants
    | AnswerInvitation
)
"""What a session asks for about rooms."""
