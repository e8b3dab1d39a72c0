"""What the writer keeps in memory: small, read from the file at start, and read again after a roll-back; and rows of
attached sessions and their participants.

What can go wrong with those rows, and which rule prevents it
-------------------------------------------------------------

*Another operation changes the row.* The reaper ends it, a kick, an erase, an open that takes its place. Every write
goes through `Transaction`, and what is written there is what is kept from then on: the row that was saved last, or none
where its session is no longer attached. Nobody has to remember to invalidate anything.

*An operation changes the object and then refuses.* The object would differ from the file. Operations check first and
change after; the writer rolls back a batch in which one wrote before it refused.

*A batch is rolled back.* What was kept may be of that batch: everything is dropped with the rest of `State`.

*There are more sessions than memory.* The oldest are dropped; they are read from the file again, which is what was done
for all of them before.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappush

import apsw
import msgspec

from greenroom.engines.base import MAX_CLOCK_STEP, NodeBeat, restriction_expires
from greenroom.engines.embedded.room_rows import RoomMemory
from greenroom.engines.embedded.rows import ATTACHED, ParticipantRow, SessionRow
from greenroom.model import Application, Restriction, erased_subject

RestrictionKey = tuple[str, str, str]
"""Application, kind, subject."""

MOST_ROWS = 2_048
"""Sessions, and participants, that are kept: some 3 MiB."""

MOST_ENDS = 10_000
"""Reasons of ends that are kept of sessions that have no row any more: some 2 MiB."""

decode_application = msgspec.msgpack.Decoder(Application).decode
decode_restriction = msgspec.msgpack.Decoder(Restriction).decode


class Stream:
    """An application's events: consecutive numbers, some of them dropped, instants that never go back."""

    __slots__ = ("at", "bytes", "count", "first", "last", "oldest_at", "searched")

    def __init__(
        self, first: int, last: int, *, count: int = 0, size: int = 0, oldest_at: int = 0, at: int = 0
    ) -> None:
        self.first = first
        """Number of the oldest kept event; last + 1 where none is."""
        self.last = last
        self.count = count
        self.bytes = size
        self.oldest_at = oldest_at
        self.at = at
        """The instant of the newest."""
        self.searched = [first - 1, first - 1]
        """Up to where no event is left that goes before all others, and before ends (`drop_rank` 0 and 1)."""


class NodeLease:
    """The one node's lease, in the partition clock (ms)."""

    __slots__ = ("beat", "lease_until", "seen_at", "started_at")

    def __init__(self, beat: NodeBeat, now: int, lease_until: int) -> None:
        self.beat = beat
        self.started_at = now
        self.seen_at = now
        self.lease_until = lease_until


class RowCache:
    """most: of sessions, and of participants."""

    __slots__ = ("_most", "participants", "sessions")

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self.sessions: OrderedDict[str, SessionRow] = OrderedDict()
        """By id."""
        self.participants: OrderedDict[int, ParticipantRow] = OrderedDict()
        """By number."""

    def keep_session(self, row: SessionRow) -> None:
        """It was read or saved: this is what the file says."""
        session_id = (row.decoded or row.data).id
        if row.state != ATTACHED:
            self.sessions.pop(session_id, None)
            return
        self.sessions[session_id] = row
        if len(self.sessions) > self._most:
            self.sessions.popitem(last=False)

    def keep_participant(self, participant: ParticipantRow) -> None:
        """Likewise; one without a connection is not kept."""
        if not participant.connected:
            self.participants.pop(participant.n, None)
            return
        self.participants[participant.n] = participant
        if len(self.participants) > self._most:
            self.participants.popitem(last=False)

    def forget_participant(self, participant: ParticipantRow) -> None:
        """Its row was deleted."""
        self.participants.pop(participant.n, None)

    def clear(self) -> None:
        """The file may say something else."""
        self.sessions.clear()
        self.participants.clear()


class State:
    """Read by operations on the writer; written by them too, so it is read again when a batch is rolled back."""

    def __init__(self) -> None:
        self.hash_key = b""
        self.clock = 0
        self.stored_beat = 0
        """Unix ms of the last beat that was stored."""
        self.directory_version = 0
        self.streams: dict[str, Stream] = {}
        self.applications: dict[str, Application] = {}
        self.restrictions: dict[RestrictionKey, Restriction] = {}
        self.restricted: dict[str, int] = {}
        """Restrictions of each application."""
        self.expiring: list[tuple[int, RestrictionKey]] = []
        """A heap of when restrictions no longer matter (Unix ms); an entry may be outdated."""
        self.counts: dict[str, int] = {}
        """Sessions that have not ended, of each application."""
        self.ended: dict[str, int] = {}
        """Sessions that have, and are still kept."""
        self.erasing = False
        """Whether there are erasures to continue with."""
        self.rows = RowCache()
        """Rows that are read all the time."""
        self.rooms = RoomMemory()
        # Of this process, not of the file:
        self.nodes: dict[str, NodeLease] = {}
        self.lapsed: dict[str, None] = {}
        """Lease ids that are over, and never count again (S7); those with sessions left to detach are `draining`."""
        self.draining: set[str] = set()
        self._ends: dict[int, tuple[int, str]] = {}
        """By the key of an ended session that made room for later ones: until when its openId would be stored
        (partition clock), and why it ended."""
        self.checkpoint_due = False
        """The log is to be written back and truncated after the next commit: a participant was erased."""
        self.passed_at: float | None = None
        """When the last reaper pass was, on the monotonic clock."""

    def load(self, con: apsw.Connection) -> None:
        """Everything that lies in the file."""
        self.rows.clear()
        meta = dict(con.execute("SELECT key, value FROM meta"))
        self.hash_key = meta["hash_key"]
        # A clock that was not stored with every pass must not go back within this process.
        self.clock = max(self.clock, meta["clock"])
        self.stored_beat = meta["beat"]
        self.directory_version = meta["directory"]
        self.applications = {
            key: decode_application(body) for key, body in con.execute("SELECT key, body FROM applications")
        }
        self.restrictions, self.restricted, self.expiring = {}, {}, []
        for (body,) in con.execute("SELECT body FROM restrictions"):
            self.add_restriction(decode_restriction(body))
        self.counts = dict(con.execute("SELECT app, count(*) FROM sessions WHERE state < 2 GROUP BY app"))
        self.ended = dict(con.execute("SELECT app, count(*) FROM sessions WHERE state > 1 GROUP BY app"))
        self.erasing = bool(con.execute("SELECT 1 FROM erasures LIMIT 1").fetchall())
        self.rooms.load(con)
        self._load_streams(con)
        self._find_orphans(con)

    def clock_at(self, monotonic: float) -> int:
        """The partition clock (ms) as a reaper pass at this instant would set it: on by the time since the last pass,
        never back, never by more than 2 s (S8). Due times count from here, so that no grace is short by a pass."""
        if self.passed_at is None:
            return self.clock
        step = min(max(monotonic - self.passed_at, 0.0), MAX_CLOCK_STEP)
        return self.clock + round(step * 1000)

    def _find_orphans(self, con: apsw.Connection) -> None:
        """A roll-back undid the detaching of dead nodes' sessions, not what this object remembered of it."""
        alive = {node.beat.lease for node in self.nodes.values()}
        for (lease,) in con.execute("SELECT DISTINCT lease FROM sessions WHERE state = 0") if self.lapsed else ():
            if lease not in alive:
                self.draining.add(lease)

    def _load_streams(self, con: apsw.Connection) -> None:
        self.streams = {
            app: Stream(trimmed + 1, trimmed) for app, trimmed in con.execute("SELECT app, trimmed FROM streams")
        }
        found = con.execute(
            "SELECT app, min(seq), max(seq), count(*), sum(length(body)), min(at), max(at) FROM events GROUP BY app"
        )
        for app, first, last, count, size, oldest_at, at in found:
            self.streams[app] = Stream(first, last, count=count, size=size, oldest_at=oldest_at, at=at)

    def stream(self, app: str) -> Stream:
        stream = self.streams.get(app)
        if stream is None:
            stream = self.streams[app] = Stream(1, 0)
        return stream

    def add_restriction(self, restriction: Restriction) -> RestrictionKey:
        """In memory. Its key."""
        key = (restriction.app, restriction.kind, restriction.subject)
        if key not in self.restrictions:
            self.restricted[restriction.app] = self.restricted.get(restriction.app, 0) + 1
        self.restrictions[key] = restriction
        expires = restriction_expires(restriction)
        if expires is not None:
            heappush(self.expiring, (expires, key))
        return key

    def remove_restriction(self, key: RestrictionKey) -> bool:
        """In memory. Whether it was there."""
        if self.restrictions.pop(key, None) is None:
            return False
        self.restricted[key[0]] -= 1
        return True

    def block_of(self, app: str, participant_id: str, now: int) -> Restriction | None:
        """The block in force, also one that an erase left by hashed id."""
        for subject in (participant_id, erased_subject(participant_id)) if self.restrictions else ():
            found = self.restrictions.get((app, "block", subject))
            if found is not None and not found.lifted and (found.until is None or found.until > now):
                return found
        return None

    def cutoff_of(self, app: str, participant_id: str) -> int:
        """The cut-off in force, also one that an erase left by hashed id: Unix seconds; 0 where there is none."""
        application = self.applications.get(app)
        before = 0 if application is None else application.revoked_before
        for subject in (participant_id, erased_subject(participant_id)) if self.restrictions else ():
            found = self.restrictions.get((app, "cutoff", subject))
            before = before if found is None else max(before, found.before)
        return before

    def is_jti_revoked(self, app: str, jti: str) -> bool:
        return (app, "jti", jti) in self.restrictions

    def remember_end(self, key: int, until: int, reason: str | None) -> None:
        """The row of an ended session is dropped before its openId's time."""
        if until <= self.clock or reason is None:
            return
        self._ends[key] = (until, reason)
        while len(self._ends) > MOST_ENDS or next(iter(self._ends.values()))[0] <= self.clock:
            del self._ends[next(iter(self._ends))]

    def end_of(self, key: int) -> str | None:
        """Why a session without a row ended; None where that is not known."""
        until, reason = self._ends.get(key, (0, ""))
        return reason if until > self.clock else None

    def lease_is_good(self, lease: str) -> bool:
        if lease in self.lapsed:
            return False
        for node in self.nodes.values():
            if node.beat.lease == lease:
                return node.lease_until >= self.clock
        return False

    def keep_offline_ms(self, app: str) -> int:
        application = self.applications.get(app)
        seconds = 30 * 86400.0 if application is None else application.settings.keep_offline_participants
        return int(seconds * 1000)
