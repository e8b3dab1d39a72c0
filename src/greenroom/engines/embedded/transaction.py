"""What an operation sees while it runs: the rows, the engine's state, and where it leaves its news.

Operations check first and write after, so that a refusal leaves nothing to undo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgspec

from greenroom.engines.embedded.records import COLUMNS, DETACHED, Data, Person, Row, encode_data, hash_key
from greenroom.engines.embedded.state import State
from greenroom.model import Event, ParticipantRecord

_PERSON_COLUMNS = (
    "n, app, id, external_id, name, avatar_url, revision, version, presence, shown, sessions, connected, last_seen,"
    " anonymous, since, due"
)
_SELECT_PERSON = f"SELECT {_PERSON_COLUMNS} FROM participants WHERE app = ? AND id = ?"
_SELECT_PERSON_N = f"SELECT {_PERSON_COLUMNS} FROM participants WHERE n = ?"
_INSERT_PERSON = (
    "INSERT INTO participants (app, id, external_id, name, avatar_url, revision, version, presence, shown, sessions,"
    " connected, last_seen, anonymous, since, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_COUNTS = (
    "UPDATE participants SET version = ?, presence = ?, shown = ?, sessions = ?, connected = ?, last_seen = ?,"
    " since = ?, due = ? WHERE n = ?"
)
_UPDATE_PROFILE = "UPDATE participants SET name = ?, avatar_url = ?, revision = ? WHERE n = ?"
_SELECT_SESSION = f"SELECT {COLUMNS} FROM sessions WHERE key = ?"
_SELECT_OPEN = f"SELECT {COLUMNS} FROM sessions WHERE open_key = ?"
_SELECT_STANDING = f"SELECT {COLUMNS} FROM sessions WHERE p = ? AND state < 2"
_INSERT_SESSION = (
    "INSERT INTO sessions (key, p, open_key, state, due, app, lease, data, timeline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_SESSION = "UPDATE sessions SET state = ?, due = ?, lease = ?, data = ?, timeline = ? WHERE n = ?"

_encode_event = msgspec.msgpack.Encoder().encode


class Transaction:
    """One batch's transaction. ``now`` is Unix ms, ``clock`` the partition clock in ms; both stand still in it."""

    __slots__ = ("_clock", "_find", "changes", "con", "events", "execute", "now", "ready", "state", "writes")

    def __init__(self, con: apsw.Connection, state: State, now: int, monotonic: float) -> None:
        self.con = con
        self._clock = state.clock_at(monotonic)
        # One cursor for all statements costs a third less than one each. What is read is read to its end (fetchall):
        # a statement left open would keep the commit from letting go of the log.
        self.execute: Callable[..., Any] = con.cursor().execute
        self._find: Callable[..., Any] = con.cursor().execute
        self.state = state
        self.now = now
        self.writes = 0
        self.events: list[tuple[str, int, int, bytes]] = []
        self.changes: list[ParticipantRecord] = []
        self.ready: set[str] = set()

    @property
    def clock(self) -> int:
        return max(self._clock, self.state.clock)

    # -- participants --------------------------------------------------------------------------------------------

    def person(self, app: str, participant_id: str) -> Person | None:
        found = self._find(_SELECT_PERSON, (app, participant_id)).fetchall()
        return Person(*found[0]) if found else None

    def person_of(self, row: Row) -> Person:
        (found,) = self._find(_SELECT_PERSON_N, (row.p,)).fetchall()
        return Person(*found)

    def save_counts(self, person: Person) -> None:
        """All but the profile; inserts a new one whole."""
        self.writes += 1
        if person.n:
            self.execute(
                _UPDATE_COUNTS,
                (
                    person.version,
                    person.presence,
                    person.shown,
                    person.sessions,
                    person.connected,
                    person.last_seen,
                    person.since,
                    person.due,
                    person.n,
                ),
            )
            return
        self.execute(_INSERT_PERSON, msgspec.structs.astuple(person)[1:])
        person.n = self.con.last_insert_rowid()

    def save_profile(self, person: Person) -> None:
        self.writes += 1
        self.execute(_UPDATE_PROFILE, (person.name, person.avatar_url, person.revision, person.n))

    def forget_person(self, person: Person) -> None:
        self.writes += 1
        self.execute("DELETE FROM participants WHERE n = ?", (person.n,))

    # -- sessions ------------------------------------------------------------------------------------------------

    def session(self, session_id: str) -> Row | None:
        key = hash_key(self.state.hash_key, session_id)
        for found in self._find(_SELECT_SESSION, (key,)).fetchall():
            row = Row(*found)
            return row if row.data.id == session_id else None
        return None

    def session_by_open(self, open_key: int) -> Row | None:
        found = self._find(_SELECT_OPEN, (open_key,)).fetchall()
        return Row(*found[0]) if found else None

    def standing(self, person: Person) -> list[Row]:
        """The participant's sessions that have not ended."""
        if not person.sessions:
            return []
        return [Row(*found) for found in self._find(_SELECT_STANDING, (person.n,)).fetchall()]

    def insert_session(self, person: Person, data: Data, open_key: int, lease: str) -> Row:
        self.writes += 1
        key = hash_key(self.state.hash_key, data.id)
        row = Row(0, person.n, open_key, 0, None, person.app, lease, b"", b"", data)
        row.note(self.now, "opened", data.node, data.address)
        self.execute(
            _INSERT_SESSION,
            (key, person.n, open_key, 0, None, person.app, lease, encode_data(data), row.timeline),
        )
        row.n = self.con.last_insert_rowid()
        return row

    def save_session(self, row: Row) -> None:
        self.writes += 1
        self.execute(_UPDATE_SESSION, (row.state, row.due, row.lease, encode_data(row.data), row.timeline, row.n))

    def due_sessions(self, limit: int) -> Sequence[Row]:
        """Detached ones whose grace is over, the longest first."""
        sql = f"SELECT {COLUMNS} FROM sessions WHERE state = {DETACHED} AND due <= ? ORDER BY due LIMIT ?"
        return [Row(*found) for found in self._find(sql, (self.clock, limit)).fetchall()]

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, so that others may be asked while they are looked at."""
        found: list[Any] = self._find(sql, bindings).fetchall()
        return found

    # -- news ----------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """An event of this step: stored with it, or not at all."""
        body = _encode_event(event)
        seq, at = self.state.stream(event.app).take(event.at, len(body))
        self.events.append((event.app, seq, at, body))
        self.ready.add(event.app)
        self.writes += 1

    def publish(self, record: ParticipantRecord) -> None:
        """A change for the bus, once it is committed."""
        self.changes.append(record)

    def flush(self) -> None:
        """Writes the events, before the commit."""
        if self.events:
            self.con.executemany("INSERT INTO events (app, seq, at, body) VALUES (?, ?, ?, ?)", self.events)
            self.events = []
