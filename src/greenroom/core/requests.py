"""What a session asks of an engine, and what it is answered: one vocabulary for the machine, the shell and the engines.

The machine emits these requests; the shell adds its node and its lease; engines take them as they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence

import msgspec

from greenroom.model import EndReason, Invitation, ParticipantRecord, Presence, RoomGrant, SessionPolicy, SessionRecord


class Owner(msgspec.Struct, frozen=True):
    """On whose behalf a session is written: refused unless generation and lease are the stored ones (S7)."""

    session_id: str
    generation: int
    lease: str


class TokenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine keeps of, and checks about, a client access token that the node has verified."""

    jti: str
    issued_at: int
    """Unix seconds."""
    expires_at: int
    """Unix seconds."""
    scopes: tuple[str, ...] = ()
    room_grants: tuple[RoomGrant, ...] = ()
    """Its claim ``rooms`` (R7)."""


class OpenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`open` (S2). session_id is the id a new session would get; it begins with the participant's partition."""

    app: str
    participant_id: str
    external_id: str | None
    open_id: str
    secret_hash: bytes
    session_id: str
    token: TokenFacts
    node: str = ""
    """Who attaches the session; the shell fills it in, and the lease."""
    lease: str = ""
    name: str | None = None
    """None leaves as it is, "" clears."""
    avatar_url: str | None = None
    attributes: dict[str, str | None] | None = None
    """What to change; a member that is None is removed."""
    status: str | None = None
    """Of the new session; None is `available`."""
    if_new: bool = False
    may_change_profile: bool = True
    """False: what differs from an existing record raises ScopeMissingError (S4)."""
    policy: SessionPolicy = SessionPolicy()
    max_application_sessions: int | None = None
    device_id: str | None = None
    device_name: str | None = None
    sdk: str = ""
    address: str = ""
    anonymous: bool = False
    """The participant has no external id: its record goes with its last session."""
    grace: float = 40.0
    """Seconds of grace used where the engine itself detaches the session (node died)."""


class AttachRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`attach`: a resume by secret (S1), or a node acquiring its own session again (S7)."""

    session_id: str
    node: str = ""
    """As in `OpenRequest`."""
    lease: str = ""
    app: str | None = None
    """Where the resume carried a token: its application must be the session's."""
    participant_id: str | None = None
    """Likewise its participant."""
    token: TokenFacts | None = None
    """A newer token to take the place of the session's (S5)."""
    secret_hash: bytes = b""
    next_secret_hash: bytes = b""
    attempt: int = 0
    previous: Owner | None = None
    """A node acquires its own session again: compare-and-set on this, the secret is left alone."""
    address: str = ""


class EndRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`close`: by its owner (compare-and-set), by its secret (S6), or by an operator (neither is given)."""

    session_id: str
    reason: EndReason
    text: str = ""
    owner: Owner | None = None
    secret_hash: bytes | None = None
    app: str | None = None
    """By an operator: the session must belong to this application."""
    can_wait: bool = False
    """Nobody waits for the answer: an engine may write it with what comes next, some milliseconds later."""


class DetachRequest(msgspec.Struct, frozen=True):
    """`detach`: the connection is gone; the session ends in ``grace`` seconds unless it is attached before. An engine
    may write it with what comes next, some milliseconds later."""

    owner: Owner
    grace: float


class RefreshRequest(msgspec.Struct, frozen=True):
    """`refresh`: the session's new token."""

    owner: Owner
    token: TokenFacts
    leave: tuple[str, ...] = ()
    """Rooms that the new token grants no more: the memberships end in the same step (R7)."""


class UpdateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`update_participant`. By a session (owner and update_id, S14) or by the server API (neither)."""

    app: str
    participant_id: str
    name: str | None = None
    avatar_url: str | None = None
    attributes: dict[str, str | None] | None = None
    """What to change; a member that is None is removed."""
    status: str | None = None
    """Of the owner's session, set alone: it is not part of the profile, and the revision stays."""
    if_revision: int | None = None
    owner: Owner | None = None
    update_id: str | None = None


class ParticipantQuery(msgspec.Struct, frozen=True, kw_only=True):
    """ids: exactly these, in this order, unknown ones as offline with version 0. None: a listing, by id. A page of a
    listing may hold fewer than the limit, and yet have a cursor: no call looks at more than some ten thousand records.
    """

    app: str
    ids: Sequence[str] | None = None
    presence: tuple[Presence, ...] = ()
    """Listing only: empty is all."""
    search: str = ""
    """Listing only: whose name, external id or id has this in it, upper or lower case; empty is all."""
    cursor: str | None = None
    limit: int = 100

    def finder(self) -> Callable[[str, str | None, str], bool]:
        """Whether the search finds a participant by name, external id or id."""
        wanted = folded(self.search)

        def finds(name: str, external_id: str | None, participant_id: str) -> bool:
            return wanted in folded(name) or wanted in participant_id or wanted in folded(external_id or "")

        return finds


def folded(text: str) -> str:
    """Without upper and lower case, and composed: canonical caseless matching (Unicode 3.13, D145)."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


class WatchRequest(msgspec.Struct, frozen=True):
    """Subscribe, then read (S12). Answer: the records, in order. known: the versions that the client holds, by id."""

    app: str
    ids: tuple[str, ...]
    known: Mapping[str, int] = {}


class UnwatchRequest(msgspec.Struct, frozen=True):
    """No longer subscribed."""

    app: str
    ids: tuple[str, ...]


SessionRequest = (
    OpenRequest
    | AttachRequest
    | EndRequest
    | DetachRequest
    | RefreshRequest
    | UpdateRequest
    | ParticipantQuery
    | WatchRequest
    | UnwatchRequest
)
"""What a session asks for. Ends by their owner, and detaches, must be written: the shell defers what the engine cannot
take now, and writes it first when the engine is back (S6)."""


class Displaced(msgspec.Struct, frozen=True):
    """A connection that lost its session to a newer one: its node closes it with 4503 (superseded)."""

    node: str
    session_id: str
    generation: int


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """An open or attach that succeeded."""

    session: SessionRecord
    participant: ParticipantRecord
    created: bool
    displaced: Displaced | None = None
    replaced: tuple[SessionRecord, ...] = ()
    """Sessions that this open ended (reason `replaced`), as they were while owned: their nodes are to be notified, by
    node and generation."""
    lost_rooms: tuple[tuple[str, str], ...] = ()
    """Rooms that the session lost since it was last attached, with the reasons (R1)."""
    invitations: tuple[Invitation, ...] = ()
    """Those of the participant that wait for an answer (R9)."""
