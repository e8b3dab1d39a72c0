"""The contract of an engine: six short contracts, each at most twelve methods.

Rules for every engine (the suite in `greenroom.testing.engine_contract` holds them together):

* Whatever changes a session and the event about it happen in one atomic step.
* Every write on behalf of a session is compare-and-set on (generation, lease) (S7).
* A list is always of the whole cluster. Limits are checked here, never per node.
* A node's life is one lease, never one lease per session. Due times are kept in order.
* Nothing missing is read as deleted (S15).

An engine owns time: it is given a clock when it is made (embedded) or uses the server's (Redis TIME). Leases and due
times count in the partition's own clock, which each `reap` moves on (S8): by the time since the last pass, never
back, never by more than 2 s.

Business refusals are raised as errors of `greenroom.errors`. When the engine cannot be reached a method raises
ServiceUnavailableError (retryable); the outcome of a write is then open, and repeating it must be safe.

Every method may be a coroutine. Those that sessions call all the time need not be: a `Completion` spares the service
a task for each call (`engines.completion`), and `READY` says that nothing has to be waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from greenroom.core.commands import Command
from greenroom.core.requests import (
    Attached,
    AttachRequest,
    EndRequest,
    OpenRequest,
    Owner,
    ParticipantQuery,
    TokenFacts,
    UpdateRequest,
)
from greenroom.engines.rooms import RoomMessage, Rooms, RosterChange
from greenroom.errors import ConflictError
from greenroom.model import Application, Event, ParticipantRecord, Restriction, SealedKey, SessionRecord

NOTIFY_AFTER = 2.0
"""Seconds of `unreachable` after which watchers and webhooks are notified of it (promise 4)."""
OPEN_ID_MEMORY = 600.0
"""Seconds for which an ended session's openId is remembered (S2)."""
UPDATE_MEMORY = 16
"""Updates whose results a session remembers (S14)."""
TIMELINE_ENTRIES = 64
"""Entries kept in a session's timeline, the latest."""
ENDED_SESSION_MEMORY = 86400.0
"""Seconds for which an ended session and its timeline can still be looked at."""
MAX_CLOCK_STEP = 2.0
"""Seconds by which one reaper pass moves a partition's clock at most (S8)."""
RECOVERY = 20.0
"""Seconds after a restore in which a node may still write back a session that is unknown (S15)."""
LEASE = 10.0
"""Seconds of a node's lease, where the settings say nothing else."""
RESTRICTION_MEMORY = 25 * 3600.0
"""Seconds for which cut-offs, revoked tokens and lifted blocks are kept: no token lives for more than 24 h, so older
ones matter no more."""
RESTRICTIONS_OF_APPLICATION = 100_000
"""Restrictions of an application, about: where there are more, those that expire next make room."""
DEAD_LETTERS = 10_000
"""Dead letters kept for one reader, the latest."""


SAMPLE_PERIOD = 30.0
"""Seconds from one kept headcount of an application to the next."""
SAMPLES = 120
"""Headcounts kept of an application: an hour's."""


class EventLimits(msgspec.Struct, frozen=True):
    """What is kept of an application's events (S17)."""

    count: int = 100_000
    size: int = 64 * 1024 * 1024
    """Bytes."""
    age: float = 72 * 3600.0
    """Seconds."""


EVENT_LIMITS = EventLimits()
PROTOCOL = 3
"""What nodes of this version understand of each other's records: 2 has attributes and statuses, 3 rooms. What a live
node of an older one would drop is not taken before that node is gone."""
UPDATE_EVENT_PERIOD = 5.0
"""Seconds between two `participant.updated` events of one participant at least: changes in between are one event."""
ENDED_OF_PARTICIPANT = 64
"""Ended sessions kept of one participant, the latest; with them their openIds (S2)."""
ENDED_OF_APPLICATION = 100_000
"""Ended sessions of an application beyond which a session that ends is kept only as long as its openId."""


def drop_rank(event_type: str) -> int:
    """In which order events go from a full stream: updates first, ends last (S17)."""
    return 0 if event_type == "participant.updated" else 2 if event_type == "session.ended" else 1


def restriction_expires(restriction: Restriction) -> int | None:
    """When a restriction no longer matters (Unix ms); None: never."""
    if restriction.kind == "block" and not restriction.lifted:
        return restriction.until
    return max(restriction.created_at, restriction.before * 1000) + int(RESTRICTION_MEMORY * 1000)


def pairs_of(application: Application) -> frozenset[tuple[str, str]]:
    """The pairs of issuer and audience that belong to the application; none where it was deleted."""
    if application.deleted:
        return frozenset()
    return frozenset((one.issuer, one.audience) for one in application.issuers)


def issuer_taken() -> ConflictError:
    """Why an application is not stored that has another one's issuer. It does not say whose."""
    return ConflictError(
        "An application of this service has this issuer with this audience already.",
        hint="The two decide whose token it is: let the issuer use another audience for this application.",
    )


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions that have not ended, or those that have (all, of an application, a participant or a node), or one by its
    id. A page may hold fewer than the limit, and yet have a cursor: no call looks at more than some thousand sessions.
    """

    app: str | None = None
    participant_id: str | None = None
    node: str | None = None
    session_id: str | None = None
    ended: bool = False
    """Of a list: those that have ended and are kept, in no order, with app and without brief."""
    with_timeline: bool = False
    brief: bool = False
    """Of a list: only id, app, participant_id, generation, state, node, lease and rooms, which costs a tenth."""
    cursor: str | None = None
    limit: int = 100


class ParticipantPage(msgspec.Struct, frozen=True):
    """cursor: where to continue, None at the end."""

    items: tuple[ParticipantRecord, ...]
    cursor: str | None = None


class SessionPage(msgspec.Struct, frozen=True):
    """cursor: where to continue, None at the end."""

    items: tuple[SessionRecord, ...]
    cursor: str | None = None


class _RestrictionRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """`restrict` (S18): one atomic step in the participant's partition."""

    app: str
    participant_id: str
    reason: str = ""


class KickParticipant(_RestrictionRequest, frozen=True, kw_only=True, tag="kick"):
    """Ends the participant's sessions (reason kicked); cut-off now, and the jti of those sessions' tokens."""


class BlockParticipant(_RestrictionRequest, frozen=True, kw_only=True, tag="block"):
    """As a kick (reason blocked), and refuses new opens. until: Unix milliseconds; None is for good."""

    until: int | None = None


class LiftBlock(_RestrictionRequest, frozen=True, kw_only=True, tag="lift"):
    """Ends a block (tombstone)."""


class CutOffTokens(_RestrictionRequest, frozen=True, kw_only=True, tag="cutoff"):
    """Revokes tokens of the participant issued at or before ``before`` (Unix seconds; None is the engine's now, rounded
    up), and ends sessions of such (token_revoked)."""

    before: int | None = None


class RevokeToken(_RestrictionRequest, frozen=True, kw_only=True, tag="jti"):
    """Revokes one token, and ends its sessions. participant_id: its subject. until: Unix milliseconds after which the
    token is no good anyway; None where that is not known."""

    jti: str
    until: int | None = None


class EraseParticipant(_RestrictionRequest, frozen=True, kw_only=True, tag="erase"):
    """Ends the sessions (reason kicked), removes the record and what names it; an active block stays, by hashed id."""


RestrictRequest = KickParticipant | BlockParticipant | LiftBlock | CutOffTokens | RevokeToken | EraseParticipant


class Restricted(msgspec.Struct, frozen=True):
    """ended: the sessions that this ended, as they were while owned. changed: whether anything was."""

    ended: tuple[SessionRecord, ...] = ()
    changed: bool = True
    cutoff: int = 0
    """The participant's cut-off after this (Unix seconds)."""
    versions: tuple[int, int] = (0, 0)
    """The directory's version before and after this; (0, 0) where it is not known."""


class NodeBeat(msgspec.Struct, frozen=True, kw_only=True):
    """A node says that it is alive. lease: the one it renews; a lapsed one is never renewed (S7)."""

    node: str
    boot: str
    lease: str
    url: str = ""
    version: str = ""
    ready: bool = True
    draining: bool = False
    sessions: int = 0
    leaving: bool = False
    """The node stops now: its lease ends with this beat."""
    watched: tuple[int, ...] = ()
    """Partitions it watches; `newest` answers for these (S13)."""
    protocol: int = PROTOCOL


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A node as the cluster sees it. lease_left: seconds, negative where lapsed."""

    node: str
    boot: str
    lease: str
    url: str = ""
    version: str = ""
    ready: bool = True
    draining: bool = False
    sessions: int = 0
    started_at: int = 0
    seen_at: int = 0
    lease_left: float = 0.0
    protocol: int = 1


class BeatResult(msgspec.Struct, frozen=True, kw_only=True):
    """renewed: False where the lease had lapsed or is unknown: the node must join with a new lease id.

    Partitions that did not answer are `missing`: the lease is not renewed there, and all else is as it was last."""

    renewed: bool
    missing: frozenset[int] = frozenset()
    now: int | None
    """The engine's time, Unix milliseconds (S5: a node more than 5 s off is not ready). None: nobody said."""
    nodes: tuple[NodeRecord, ...] = ()
    newest: dict[int, int] = {}
    """Newest change id of each watched partition (S13)."""
    application_sessions: dict[str, int] = {}
    """Sessions of each application, over all partitions, at most 2 s old (S3)."""
    directory_version: int = 0
    """Rises at every change of the directory."""
    recovering: bool = False
    """Some partition lost its marker: the node must restore (S15)."""


class Reaped(msgspec.Struct, frozen=True, kw_only=True):
    """What one reaper pass did. more: there was more that is due."""

    ended: tuple[SessionRecord, ...] = ()
    detached: int = 0
    """Sessions of lapsed leases, now detached."""
    published: int = 0
    """Participants whose `unreachable` was published now."""
    forgotten: int = 0
    """Records past their keeping."""
    lag: float = 0.0
    """Seconds by which the oldest due time had passed."""
    more: bool = False
    failing: str = ""
    """What partitions failed with that did not answer: nothing of theirs is in here. Empty where all did."""


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a node writes back into an engine that lost it (S15): sessions it holds with their participants.

    An engine that lost nothing changes nothing. Written is what is missing, or stored at a lower generation or
    version.
    """

    node: str
    lease: str
    sessions: tuple[tuple[SessionRecord, ParticipantRecord, bytes, int], ...]
    """(session, participant, current secret hash, last attempt)."""
    versions: tuple[tuple[str, str, int], ...] = ()
    """(application, participant, version that watchers were sent): records below are written above it (S11)."""
    grace: float = 40.0
    """Seconds of grace of these sessions, where the engine itself detaches them."""
    finish: bool = False
    """All directory and blocks were written before: the markers of the partitions may be set."""


class Registry(Protocol):
    """Sessions, participants, restrictions, nodes."""

    def open(self, request: OpenRequest) -> Awaitable[Attached]:
        """S2, in its order. A known openId with the same secret is an attach.

        Raises ParticipantBlockedError, TokenInvalidError (revoked), SessionEndedError (openId of an ended session, or
        with another secret), ScopeMissingError, TooManySessionsError.
        """

    def attach(self, request: AttachRequest) -> Awaitable[Attached]:
        """Resume or take back; generation +1. Raises SessionEndedError (ended, state_lost, refused secret, superseded
        attempt), ParticipantBlockedError, TokenInvalidError."""

    def refresh(self, owner: Owner, token: TokenFacts, leave: Sequence[str] = ()) -> Awaitable[SessionRecord]:
        """Stores the session's new token after the checks of S18. leave: rooms that the token does not grant; these
        memberships end in the same step (R7)."""

    def detach(self, owner: Owner, grace: float) -> Awaitable[bool]:
        """The connection is gone: due in ``grace`` seconds. False: the owner no longer owns it; nothing changed."""

    def close(self, request: EndRequest) -> Awaitable[SessionRecord | None]:
        """Ends a session. The session as it was while owned, or None where there was none to end (success too).

        "As it was while owned", here and in Attached.replaced, Restricted.ended and Reaped.ended: state, node, lease
        and generation are those before the end; ended_at, end_reason and end_text are filled in.
        Raises SessionEndedError (refused secret).
        """

    def update_participant(self, request: UpdateRequest) -> Awaitable[ParticipantRecord]:
        """Changes the profile. Setting what is there already is a success without a new revision.

        Raises RevisionConflictError (participant: the record), SessionEndedError (owner no longer owns),
        NotFoundError (server API, unknown participant).
        """

    async def participants(self, query: ParticipantQuery) -> ParticipantPage:
        """Read from the master."""

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """Read from the master."""

    async def restrict(self, request: RestrictRequest) -> Restricted:
        """Kick, block, lift, revoke, erase. Raises NotFoundError (lift without a block)."""

    async def beat(self, beat: NodeBeat) -> BeatResult:
        """Renews (or first takes) the node's lease. A lease id never seen is taken, one that is over is refused.

        `open` and `attach` with a lease that is not alive raise ServiceUnavailableError (code FENCED): a node beats
        before anything else. Raises ServiceUnavailableError where no partition answers.
        """

    async def reap(self, limit: int = 500) -> Reaped:
        """Moves the clocks on and does what is due: ends graces, detaches what dead nodes left, publishes
        `unreachable`, forgets. What some partitions did is answered though others fail (`Reaped.failing`). Raises
        ServiceUnavailableError where all do."""

    async def restore(self, request: RestoreRequest) -> int:
        """Writes back what is missing. How many were written."""


class Change(msgspec.Struct, frozen=True):
    """A participant changed: the whole record as it is now. id: number of the change in its partition."""

    partition: int
    id: int
    participant: ParticipantRecord


class BusListener(Protocol):
    """What a node does about news on the bus. Every method is quick, sync and does not raise."""

    def changed(self, change: Change) -> None:
        """A watched participant changed. May come twice and late; versions decide."""

    def counted(self, partition: int, change: int) -> None:
        """A change of a participant who is not watched was received, in the partition of one who is: its number counts
        for S13."""

    def room_changed(self, change: RosterChange) -> None:
        """The roster of a watched room changed. May come twice and late; versions decide (R5)."""

    def room_message(self, message: RoomMessage) -> None:
        """A message to the members of a watched room (R6)."""

    def command(self, command: Command) -> None:
        """Another node, or this one, asks for something."""

    def lost(self, partitions: Sequence[int]) -> None:
        """Changes of these partitions may have been missed: read the watched records again and compare."""


class Bus(Protocol):
    """News between nodes: at once, and allowed to be lost."""

    def listen(self, listener: BusListener) -> None:
        """Once, before anything is watched."""

    def watch(self, app: str, participant_ids: Sequence[str]) -> Awaitable[None]:
        """Returns when changes made from now on will be received."""

    def unwatch(self, app: str, participant_ids: Sequence[str]) -> Awaitable[None]:
        """What was watched twice has to be unwatched twice."""

    def watch_rooms(self, app: str, rooms: Sequence[str]) -> Awaitable[None]:
        """Returns when changes of these rooms' rosters, and messages to them, made from now on will be received."""

    def unwatch_rooms(self, app: str, rooms: Sequence[str]) -> Awaitable[None]:
        """What was watched twice has to be unwatched twice."""

    async def send(self, node: str, command: Command) -> None:
        """``node`` "*" is every node."""


class EventPage(msgspec.Struct, frozen=True):
    """cursor: the opaque position after these; also valid where there are none."""

    items: tuple[Event, ...]
    cursor: str
    gap: int = 0
    """How many events were dropped before these (S17)."""
    reset: bool = False
    """A partition lost its past (S16)."""


class Outbox(Protocol):
    """Events, kept until acknowledged, at most 72 h and 100,000 events or 64 MiB per application (S17)."""

    async def read(self, app: str, cursor: str | None, limit: int = 100) -> EventPage:
        """Events after the cursor (None: from the oldest kept), in order. Raises IllegalArgumentError."""

    async def acknowledge(self, app: str, reader: str, cursor: str) -> None:
        """``reader`` has processed everything up to the cursor. Stored with the events."""

    async def acknowledged(self, app: str, reader: str) -> str | None:
        """Where the reader got to."""

    async def newest(self, app: str) -> str:
        """A cursor after everything there is now."""

    async def latest(self, app: str, limit: int = 100) -> EventPage:
        """The last events there are now, in order, and a cursor after them; fewer than the limit where others would be
        left out between them."""

    async def replay(self, app: str, first_at: int, last_at: int, limit: int = 1000) -> EventPage:
        """Events between two instants (Unix ms), acknowledged or not, as far as they are still kept."""

    def subscribe(self, ready: Callable[[str], None]) -> None:
        """``ready(app)`` is called when an application may have new events. A hint: it may be lost, and an engine may
        give none while this process reads no events."""

    async def set_aside(self, app: str, reader: str, events: Sequence[Event], why: str) -> None:
        """Dead letters of a reader."""

    async def aside(self, app: str, reader: str, limit: int = 100) -> tuple[tuple[Event, str], ...]:
        """The reader's dead letters, oldest first, with the reason of each."""

    async def drop_aside(self, app: str, reader: str, event_ids: Sequence[str]) -> int:
        """Dead letters that were replayed or are not wanted. How many there were."""

    async def claim(self, app: str, reader: str, node: str, seconds: float) -> bool:
        """One node at a time reads for a reader: True where this one has, or has renewed, the claim. seconds: how long
        it lasts; 0 hands it over to whoever asks next."""


class Directory(Protocol):
    """Applications and keys. Small, shared by all nodes, read through a short cache."""

    async def applications(self) -> tuple[Application, ...]:
        """All, tombstones too."""

    async def application(self, key: str) -> Application | None:
        """One, or None where unknown or deleted."""

    async def save_application(self, application: Application) -> Application:
        """Stores it if the stored version is application.version (0: must be new), and if no other application has one
        of its pairs of issuer and audience. Returns it with its new version. Raises ConflictError."""

    async def keys(self) -> tuple[SealedKey, ...]:
        """The signing keys, newest first."""

    async def save_key(self, key: SealedKey) -> None:
        """Adds or replaces by kid."""

    async def restrictions(self, app: str | None = None) -> tuple[Restriction, ...]:
        """All blocks, cut-offs and revoked tokens that still matter, of one application or all."""

    async def put_back(
        self, applications: Sequence[Application], keys: Sequence[SealedKey], restrictions: Sequence[Restriction]
    ) -> None:
        """Restore (S15): writes what is missing or older, removes nothing."""

    async def version(self) -> int:
        """Rises at every change."""


class Headcount(msgspec.Struct, frozen=True, array_like=True):
    """How many participants and sessions an application has. Stored too: what is added goes to the end."""

    at: int
    """Unix milliseconds."""
    online: int = 0
    unreachable: int = 0
    attached: int = 0
    detached: int = 0


class Statistics(Protocol):
    """How many there are, and were."""

    async def count(self, app: str) -> Headcount:
        """Those who are here now. Whoever comes or goes meanwhile may count or not. It takes longer the more there are,
        but holds up nobody for more than some milliseconds."""

    async def keep(self, app: str, headcount: Headcount) -> None:
        """Stores one for the history: the latest `SAMPLES` are kept."""

    async def history(self, app: str) -> tuple[Headcount, ...]:
        """What was kept, oldest first; an engine may drop what is older than `SAMPLES` times `SAMPLE_PERIOD`."""


class Engine(Protocol):
    """An engine: its six contracts and its life."""

    name: str
    registry: Registry
    bus: Bus
    outbox: Outbox
    directory: Directory
    statistics: Statistics
    rooms: Rooms

    async def start(self) -> None:
        """Opens files or connections; checks versions and settings. Raises GreenroomError that says what to do."""

    async def stop(self) -> None:
        """Closes everything; what was accepted is written first."""

    async def healthy(self) -> None:
        """Raises ServiceUnavailableError where the engine cannot be reached or cannot write."""

    async def durability(self) -> tuple[str, ...]:
        """What this engine really promises, a line each, for people."""
