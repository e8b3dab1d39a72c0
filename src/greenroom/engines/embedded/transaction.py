"""What an operation sees while it runs: the rows, the engine's state, and where it leaves its news.

Operations check first, and change rows and write after, so that a refusal leaves nothing to undo. Every write of a
session or a participant is a method here: what is saved is what `RowCache` keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgspec

from greenroom.codes import ErrorCode
from greenroom.engines.embedded.room_rows import MOST_ROOMS, ROOM_COLUMNS, RoomRow
from greenroom.engines.embedded.rows import (
    COLUMNS,
    DETACHED,
    PARTICIPANT_COLUMNS,
    ParticipantRow,
    SessionData,
    SessionRow,
    decode_data,
    encode_data,
    hash_key,
)
from greenroom.engines.embedded.state import State
from greenroom.engines.rooms import RoomMessage, RosterChange
from greenroom.errors import SessionEndedError
from greenroom.model import Event, ParticipantRecord

_SELECT_PARTICIPANT = f"SELECT {PARTICIPANT_COLUMNS} FROM participants WHERE app = ? AND id = ?"
_SELECT_PARTICIPANT_N = f"SELECT {PARTICIPANT_COLUMNS} FROM participants WHERE n = ?"
_INSERT_PARTICIPANT = (
    f"INSERT INTO participants ({PARTICIPANT_COLUMNS})"
    f" VALUES (NULL{', ?' * (len(ParticipantRow.__struct_fields__) - 1)})"
)
_UPDATE_COUNTS = (
    "UPDATE participants SET version = ?, presence = ?, shown = ?, sessions = ?, connected = ?, last_seen = ?,"
    " since = ?, due = ?, update_at = ?, update_waits = ?, ended = ? WHERE n = ?"
)
_UPDATE_PROFILE = "UPDATE participants SET name = ?, avatar_url = ?, revision = ?, attributes = ? WHERE n = ?"
_UPDATE_STATUS = "UPDATE participants SET status = ?, statuses = ? WHERE n = ?"
_UPDATE_ROOM = (
    "UPDATE rooms SET id = ?, state = ?, version = ?, count = ?, detailed = ?, ttl = ?, opened_at = ?, opened_by = ?,"
    " due = ?, forgotten = ?, attributes = ? WHERE n = ?"
)
_COUNT_ROOM = "UPDATE rooms SET version = ?, count = ? WHERE n = ?"
_INSERT_ROOM = f"INSERT INTO rooms ({ROOM_COLUMNS}) VALUES (?{', ?' * (len(RoomRow.__struct_fields__) - 1)})"
_SELECT_SESSION = f"SELECT {COLUMNS} FROM sessions WHERE key = ?"
_SELECT_OPEN = f"SELECT {COLUMNS} FROM sessions WHERE open_key = ?"
_SELECT_SESSIONS_OF = f"SELECT {COLUMNS} FROM sessions WHERE p = ? AND (state > 1) = 0"
_INSERT_SESSION = (
    "INSERT INTO sessions (key, p, open_key, state, due, app, lease, data, timeline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_SESSION = "UPDATE sessions SET state = ?, due = ?, lease = ?, data = ?, timeline = ? WHERE n = ?"
_UPDATE_DATA = "UPDATE sessions SET data = ? WHERE n = ?"

_encode_event = msgspec.msgpack.Encoder().encode


class Transaction:
    """One batch's transaction. ``now`` is Unix ms, ``clock`` the partition clock in ms; both stand still in it."""

    __slots__ = (
        "_cache",
        "_counted",
        "_find",
        "_last_room",
        "_rooms",
        "changes",
        "clock",
        "con",
        "events",
        "execute",
        "now",
        "ready",
        "room_news",
        "state",
        "writes",
    )

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
        self.room_news: list[RosterChange | RoomMessage] = []
        """Likewise, in their order."""
        self._rooms: dict[tuple[str, str], RoomRow] = {}
        """Rooms that were changed: each is written once, before the commit."""
        self._counted: dict[tuple[str, str], RoomRow] = {}
        """Those of which nothing but version and count was: no index is to be looked at."""
        self._last_room = state.rooms.last
        """Rooms above this number are not in the file yet."""

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
                    participant.ended,
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

    def save_rooms(self, participant: ParticipantRow) -> None:
        """Those in which it is a member."""
        self.writes += 1
        self.execute("UPDATE participants SET rooms = ? WHERE n = ?", (participant.rooms, participant.n))
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
        row = self._cache.sessions.get(session_id)
        if row is None:
            found = self._find(_SELECT_SESSION, (hash_key(self.state.hash_key, session_id),)).fetchall()
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

    def save_data(self, row: SessionRow) -> None:
        """A session of which nothing else was changed: a third of what `save_session` costs, for no index has to be
        looked at."""
        self.writes += 1
        self.execute(_UPDATE_DATA, (encode_data(row.data), row.n))
        self._cache.keep_session(row)

    def forget_ended(self, rows: Sequence[tuple[int, str]]) -> None:
        """Drops sessions that have ended: their numbers and applications."""
        for n, app in rows:
            self.writes += 1
            self.execute("DELETE FROM sessions WHERE n = ?", (n,))
            self.state.ended[app] -= 1

    def forget_surplus(self, rows: Sequence[tuple[int, str, int, int, bytes]]) -> None:
        """Drops ended sessions that make room for later ones (number, application, key, until when the openId would be
        stored, data). Why they ended stays known until then (S2)."""
        for n, app, key, until, data in rows:
            self.state.remember_end(key, until, decode_data(data).end_reason)
            self.forget_ended([(n, app)])

    def unknown_session(self, session_id: str) -> SessionEndedError:
        """What is answered about a session that has no row."""
        reason = self.state.end_of(hash_key(self.state.hash_key, session_id))
        return SessionEndedError(code=ErrorCode.STATE_LOST) if reason is None else SessionEndedError(end_reason=reason)

    def due_sessions(self, limit: int) -> Sequence[SessionRow]:
        """Detached ones whose grace is over, the longest first."""
        sql = f"SELECT {COLUMNS} FROM sessions WHERE state = {DETACHED} AND due <= ? ORDER BY due LIMIT ?"
        return [SessionRow(*found) for found in self._find(sql, (self.clock, limit)).fetchall()]

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, so that others may be asked while they are looked at."""
        found: list[Any] = self._find(sql, bindings).fetchall()
        return found

    # -- rooms ---------------------------------------------------------------------------------------------------

    def room(self, app: str, name: str) -> RoomRow | None:
        """The room of this name, one that has ended too; None where it is unknown."""
        key = (app, name)
        memory = self.state.rooms
        room = memory.rows.get(key) or self._rooms.get(key) or self._counted.get(key)
        if room is None and memory.known:
            sql = f"SELECT {ROOM_COLUMNS} FROM rooms WHERE app = ? AND name = ?"
            for found in self._find(sql, key).fetchall():
                room = RoomRow(*found)
                self._keep_room(room)
        return room

    def _keep_room(self, room: RoomRow) -> None:
        kept = self.state.rooms.rows
        kept[room.app, room.name] = room
        if len(kept) > MOST_ROOMS:
            kept.popitem(last=False)

    def save_room(self, room: RoomRow) -> None:
        """Written before the commit. A new one gets its number."""
        self.writes += 1
        if not room.n:
            memory = self.state.rooms
            memory.last += 1
            memory.known += 1
            room.n = memory.last
        self._rooms[room.app, room.name] = room
        self._keep_room(room)

    def save_room_count(self, room: RoomRow) -> None:
        """The same of a room of which nothing but version and count was changed."""
        self.writes += 1
        self._counted[room.app, room.name] = room
        self._keep_room(room)

    def forget_room(self, room: RoomRow) -> None:
        """It ended long ago, and nothing is known of it any more."""
        self.writes += 1
        self._rooms.pop((room.app, room.name), None)
        self._counted.pop((room.app, room.name), None)
        self.state.rooms.rows.pop((room.app, room.name), None)
        self.state.rooms.known -= 1
        for table, key in (("removals", "r"), ("members", "r"), ("rooms", "n")):
            self.execute(f"DELETE FROM {table} WHERE {key} = ?", (room.n,))

    # -- news ----------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """An event of this step: stored with it, or not at all."""
        body, app = _encode_event(event), event.app
        stream = self.state.streams.get(app) or self.state.stream(app)
        number = stream.last = stream.last + 1
        if event.at > stream.at:
            stream.at = event.at
        if not stream.count:
            stream.oldest_at = stream.at
        stream.count += 1
        stream.bytes += len(body)
        self.events.append((app, number, stream.at, body))
        self.ready.add(app)
        self.writes += 1

    def flush(self) -> None:
        """Writes the events, and the rooms that were changed, before the commit."""
        for key, room in self._counted.items():
            if key not in self._rooms:
                self.execute(_COUNT_ROOM, (room.version, room.count, room.n))
        for room in self._rooms.values():
            row = msgspec.structs.astuple(room)
            if room.n > self._last_room:
                self.execute(_INSERT_ROOM, row)
            else:
                self.execute(_UPDATE_ROOM, (*row[3:], room.n))
        self._counted.clear()
        self._rooms.clear()
        self._last_room = self.state.rooms.last
        if self.events:
            self.con.executemany("INSERT INTO events (app, seq, at, body) VALUES (?, ?, ?, ?)", self.events)
            self.events = []
