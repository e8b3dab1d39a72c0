"""What an operation sees while it runs: the rows, the engine's state, and where it leaves its news.

Operations check first, and change rows and write after, so that a refusal leaves nothing to undo. Every write of a
session or a participant is a method here: what is saved is what `RowCache` keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgspec

from greenroom.engines.embedded.rows import (
    COLUMNS,
    DETACHED,
    PARTICIPANT_COLUMNS,
    ParticipantRow,
    SessionData,
    SessionRow,
    encode_data,
    hash_key,
)
from greenroom.engines.embedded.state import State
from greenroom.model import Event, ParticipantRecord

_SELECT_PARTICIPANT = f"SELECT {PARTICIPANT_COLUMNS} FROM participants WHERE app = ? AND id = ?"
_SELECT_PARTICIPANT_N = f"SELECT {PARTICIPANT_COLUMNS} FROM participants WHERE n = ?"
_INSERT_PARTICIPANT = (
    f"INSERT INTO participants ({PARTICIPANT_COLUMNS})"
    f" VALUES (NULL{', ?' * (len(ParticipantRow.__struct_fields__) - 1)})"
)
_UPDATE_COUNTS = (
    "UPDATE participants SET version = ?, presence = ?, shown = ?, sessions = ?, connected = ?, last_seen = ?,"
    " since = ?, due = ?, update_at = ?, update_waits = ? WHERE n = ?"
)
_UPDATE_PROFILE = "UPDATE participants SET name = ?, avatar_url = ?, revision = ?, attributes = ? WHERE n = ?"
_UPDATE_STATUS = "UPDATE participants SET status = ?, statuses = ? WHERE n = ?"
_SELECT_SESSION = f"SELECT {COLUMNS} FROM sessions WHERE key = ?"
_SELECT_OPEN = f"SELECT {COLUMNS} FROM sessions WHERE open_key = ?"
_SELECT_SESSIONS_OF = f"SELECT {COLUMNS} FROM sessions WHERE p = ? AND (state > 1) = 0"
_INSERT_SESSION = (
    "INSERT INTO sessions (key, p, open_key, state, due, app, lease, data, timeline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_SESSION = "UPDATE sessions SET state = ?, due = ?, lease = ?, data = ?, timeline = ? WHERE n = ?"

_encode_event = msgspec.msgpack.Encoder().encode


class Transaction:
    """One batch's transaction. ``now`` is Unix ms, ``clock`` the partition clock in ms; both stand still in it."""

    __slots__ = ("_cache", "_find", "changes", "clock", "con", "events", "execute", "now", "ready", "state", "writes")

    def __init__(self, con: apsw.Connection, state: State, now: int, monotonic: float) -> None:
        self.con = con
        self.clock = state.clock_at(monotonic)
        # One cursor for all statements costs a third less than one each. What is read is read to its end (fetchall):
        # a statement left open would keep the commit from letting go of the log.
        self.execute: Callable[..., Any] = con.cursor().execute
        self._find: Callable[..., Any] = con.cursor().execute
        self.state = state
        self._cache = state.rows
        self.now = now
        self.writes = 0
        self.events: list[tuple[str, int, int, bytes]] = []
        self.changes: list[ParticipantRecord] = []
        """What goes to the bus, once it is committed."""
        self.ready: set[str] = set()

    # -- participants --------------------------------------------------------------------------------------------

    def participant(self, app: str, participant_id: str) -> ParticipantRow | None:
        found = self._find(_SELECT_PARTICIPANT, (app, participant_id)).fetchall()
        return ParticipantRow(*found[0]) if found else None

    def participant_of(self, row: SessionRow) -> ParticipantRow:
        participant = self._cache.participants.get(row.p)
        if participant is None:
            (found,) = self._find(_SELECT_PARTICIPANT_N, (row.p,)).fetchall()
            participant = ParticipantRow(*found)
            self._cache.keep_participant(participant)
        return participant

    def save_counts(self, participant: ParticipantRow) -> None:
        """All but the profile and the status; inserts a new one whole."""
        self.writes += 1
        if participant.n:
            self.execute(
                _UPDATE_COUNTS,
                (
                    participant.version,
                    participant.presence,
                    participant.shown,
                    participant.sessions,
                    participant.connected,
                    participant.last_seen,
                    participant.since,
                    participant.due,
                    participant.update_at,
                    participant.update_waits,
                    participant.n,
                ),
            )
        else:
            self.execute(_INSERT_PARTICIPANT, msgspec.structs.astuple(participant)[1:])
            participant.n = self.con.last_insert_rowid()
        self._cache.keep_participant(participant)

    def save_profile(self, participant: ParticipantRow) -> None:
        self.writes += 1
        self.execute(
            _UPDATE_PROFILE,
            (participant.name, participant.avatar_url, participant.revision, participant.attributes, participant.n),
        )
        self._cache.keep_participant(participant)

    def save_status(self, participant: ParticipantRow) -> None:
        """Its own status, and those of its sessions."""
        self.writes += 1
        self.execute(_UPDATE_STATUS, (participant.status, participant.statuses, participant.n))
        self._cache.keep_participant(participant)

    def save_last_seen(self, participant: ParticipantRow, at: int) -> None:
        """When it was seen last, where that is not now."""
        participant.last_seen = at
        self.writes += 1
        self.execute("UPDATE participants SET last_seen = ? WHERE n = ?", (at, participant.n))
        self._cache.keep_participant(participant)

    def forget_participant(self, participant: ParticipantRow) -> None:
        self.writes += 1
        self.execute("DELETE FROM participants WHERE n = ?", (participant.n,))
        self._cache.forget_participant(participant)

    # -- sessions ------------------------------------------------------------------------------------------------

    def session(self, session_id: str) -> SessionRow | None:
        key = hash_key(self.state.hash_key, session_id)
        row = self._cache.sessions.get(key)
        if row is None:
            found = self._find(_SELECT_SESSION, (key,)).fetchall()
            if not found:
                return None
            row = SessionRow(*found[0])
            self._cache.keep_session(row)
        return row if row.data.id == session_id else None

    def session_by_open(self, app: str, participant_id: str, open_id: str) -> tuple[int, SessionRow | None]:
        """The key of an openId, and its session."""
        open_key = hash_key(self.state.hash_key, f"{app}\x00{participant_id}\x00{open_id}")
        found = self._find(_SELECT_OPEN, (open_key,)).fetchall()
        return open_key, SessionRow(*found[0]) if found else None

    def sessions_of(self, participant: ParticipantRow) -> list[SessionRow]:
        """The participant's sessions that have not ended."""
        if not participant.sessions:
            return []
        return [SessionRow(*found) for found in self._find(_SELECT_SESSIONS_OF, (participant.n,)).fetchall()]

    def insert_session(self, participant: ParticipantRow, data: SessionData, open_key: int, lease: str) -> SessionRow:
        self.writes += 1
        key = hash_key(self.state.hash_key, data.id)
        row = SessionRow(0, participant.n, open_key, 0, None, participant.app, lease, b"", b"", key, data)
        row.note(self.now, "opened", data.node, data.address)
        self.execute(
            _INSERT_SESSION,
            (key, participant.n, open_key, 0, None, participant.app, lease, encode_data(data), row.timeline),
        )
        row.n = self.con.last_insert_rowid()
        self._cache.keep_session(row)
        return row

    def save_session(self, row: SessionRow) -> None:
        self.writes += 1
        self.execute(_UPDATE_SESSION, (row.state, row.due, row.lease, encode_data(row.data), row.timeline, row.n))
        self._cache.keep_session(row)

    def forget_ended(self, rows: Sequence[tuple[int, str]]) -> None:
        """Drops sessions that have ended: their numbers and applications."""
        for n, app in rows:
            self.writes += 1
            self.execute("DELETE FROM sessions WHERE n = ?", (n,))
            self.state.ended[app] -= 1

    def due_sessions(self, limit: int) -> Sequence[SessionRow]:
        """Detached ones whose grace is over, the longest first."""
        sql = f"SELECT {COLUMNS} FROM sessions WHERE state = {DETACHED} AND due <= ? ORDER BY due LIMIT ?"
        return [SessionRow(*found) for found in self._find(sql, (self.clock, limit)).fetchall()]

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, so that others may be asked while they are looked at."""
        found: list[Any] = self._find(sql, bindings).fetchall()
        return found

    # -- news ----------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """An event of this step: stored with it, or not at all."""
        body = _encode_event(event)
        stream = self.state.streams.get(event.app) or self.state.stream(event.app)
        stream.last += 1
        stream.at = max(stream.at, event.at)
        if not stream.count:
            stream.oldest_at = stream.at
        stream.count += 1
        stream.bytes += len(body)
        self.events.append((event.app, stream.last, stream.at, body))
        self.ready.add(event.app)
        self.writes += 1

    def flush(self) -> None:
        """Writes the events, before the commit."""
        if self.events:
            self.con.executemany("INSERT INTO events (app, seq, at, body) VALUES (?, ?, ?, ?)", self.events)
            self.events = []
