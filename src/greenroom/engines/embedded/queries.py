"""Reading: participants and sessions, by id and as lists with opaque cursors."""

from __future__ import annotations

from typing import Annotated

import apsw
import msgspec

from greenroom.core.requests import ParticipantQuery, folded
from greenroom.engines.base import ParticipantPage, SessionPage, SessionQuery
from greenroom.engines.cursors import decode_cursor, encode_cursor
from greenroom.engines.embedded.erase import is_erased, last_erased_sessions
from greenroom.engines.embedded.rows import (
    ATTACHED,
    COLUMNS,
    ENDED,
    PARTICIPANT_COLUMNS,
    PRESENCE_NUMBER,
    ParticipantRow,
    SessionHead,
    SessionRow,
    hash_key,
)
from greenroom.engines.paging import page_limit
from greenroom.model import ParticipantRecord, RegistryState, SessionRecord

LOOKED_AT = 10_000
"""Participants that one call looks at for a list: some ten milliseconds."""
WINDOW = 2000
"""Rows of sessions, ended ones too, in one step of a list."""
WINDOWS = 5
"""Steps of one call: some milliseconds."""
_WINDOW_END = f"SELECT max(n) FROM (SELECT n FROM sessions WHERE n > ? ORDER BY n LIMIT {WINDOW})"


_IN_NO_ROOM = b"\xc0\x90\x90\x90"
"""How the data of a session ends that has no status, grants in rooms, rooms or lost rooms. No text ends so: 0xC0 is not
a byte of UTF-8."""
_decode_head = msgspec.msgpack.Decoder(SessionHead).decode
_AFTER_ALL = "\U0010ffff"
_RowNumber = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_MAY_FIND = """ AND (instr(lower(name), ?) OR instr(lower(external_id), ?) OR instr(id, ?)
 OR length(name) <> octet_length(name) OR length(external_id) <> octet_length(external_id))"""
"""SQLite knows upper and lower case of ASCII alone: who has other letters is looked at in Python."""
_PARTICIPANT = f"SELECT {PARTICIPANT_COLUMNS} FROM participants"


def participants(query: ParticipantQuery, con: apsw.Connection) -> ParticipantPage:
    """By ids, in their order, unknown ones as offline; or a list by id."""
    if query.ids is not None:
        return ParticipantPage(tuple(_participant(con, query.app, each) for each in query.ids))
    limit = page_limit(query.limit)
    after = "" if query.cursor is None else decode_cursor("p", query.cursor, str)
    end, is_last = window_end(con, query.app, after, LOOKED_AT)
    wanted = [PRESENCE_NUMBER[presence] for presence in query.presence]
    having = f" AND presence IN ({', '.join('?' * len(wanted))})" if wanted else ""
    bindings: list[str | int] = [query.app, after, end, *wanted]
    if query.search:
        having += _MAY_FIND
        bindings += [folded(query.search)] * 3
    sql = f"{_PARTICIPANT} WHERE app = ? AND id > ? AND id <= ?{having} ORDER BY id"
    finds = query.finder()
    items: list[ParticipantRecord] = []
    for row in con.execute(sql, bindings):
        participant = ParticipantRow(*row)
        if finds(participant.name, participant.external_id, participant.id):
            if len(items) == limit:
                return ParticipantPage(tuple(items), encode_cursor("p", items[-1].id))
            items.append(participant.record())
    return ParticipantPage(tuple(items), None if is_last else encode_cursor("p", end))


def window_end(con: apsw.Connection, app: str, after: str, size: int) -> tuple[str, bool]:
    """The id at which a step over an application's participants ends, and whether there are none behind it."""
    sql = "SELECT id FROM participants WHERE app = ? AND id > ? ORDER BY id LIMIT 1 OFFSET ?"
    end = con.execute(sql, (app, after, size - 1)).get
    return (end, False) if isinstance(end, str) else (_AFTER_ALL, True)


def _participant(con: apsw.Connection, app: str, participant_id: str) -> ParticipantRecord:
    for row in con.execute(f"{_PARTICIPANT} WHERE app = ? AND id = ?", (app, participant_id)):
        return ParticipantRow(*row).record()
    return ParticipantRecord(app=app, id=participant_id)


def sessions(query: SessionQuery, key: bytes, con: apsw.Connection) -> SessionPage:
    """One by its id, or a list of those that have not ended or have."""
    if query.session_id is not None:
        return SessionPage(_session(con, query, key))
    limit = page_limit(query.limit)
    erased = last_erased_sessions(con, query.app) if query.ended and query.app is not None else {}
    after = -(2**63) if query.cursor is None else decode_cursor("s", query.cursor, _RowNumber)
    items: list[SessionRecord] = []
    for _ in range(WINDOWS):
        whole = query.participant_id is not None and not query.ended
        sql = "SELECT max(n) FROM sessions WHERE n > ?" if whole else _WINDOW_END
        end = con.execute(sql, (after,)).get
        if not isinstance(end, int):
            return SessionPage(tuple(items))
        for found in con.execute(*_listing(query, after, end)):
            row = SessionRow(*found)
            brief = query.brief and not query.ended
            record = _brief(row) if brief else row.record(with_timeline=query.with_timeline)
            if query.node not in (None, record.node) or query.participant_id not in (None, record.participant_id):
                continue
            if erased.get(record.participant_id, row.n - 1) >= row.n:
                continue
            if len(items) == limit:
                return SessionPage(tuple(items), encode_cursor("s", after))
            items.append(record)
            after = row.n
        after = end
    return SessionPage(tuple(items), encode_cursor("s", after))


def _brief(row: SessionRow) -> SessionRecord:
    head = _decode_head(row.raw)
    state = RegistryState.ATTACHED if row.state == ATTACHED else RegistryState.DETACHED
    return SessionRecord(
        id=head.id,
        app=row.app,
        participant_id=head.participant_id,
        generation=head.generation,
        state=state,
        node=head.node,
        lease=row.lease,
        rooms=() if row.raw.endswith(_IN_NO_ROOM) else row.data.rooms,
    )


def _session(con: apsw.Connection, query: SessionQuery, key: bytes) -> tuple[SessionRecord, ...]:
    session_id = query.session_id or ""
    for found in con.execute(f"SELECT {COLUMNS} FROM sessions WHERE key = ?", (hash_key(key, session_id),)):
        row = SessionRow(*found)
        known = row.data.id == session_id and query.app in (None, row.app)
        if known and not (row.state >= ENDED and is_erased(con, row)):
            return (row.record(with_timeline=query.with_timeline),)
    return ()


def _listing(query: SessionQuery, after: int, end: int) -> tuple[str, tuple[int | str | bytes, ...]]:
    """Sessions that have not ended, or those that have, of the rows after one and up to another."""
    sql = f"SELECT {COLUMNS} FROM sessions WHERE"
    rows = (after, end)
    if query.ended:
        # Not by the participant's row: that may be forgotten before the sessions are.
        mark = (query.participant_id or "").encode("utf-8", "surrogatepass")
        sql += f" n > ? AND n <= ? AND state >= {ENDED} AND app = ? AND instr(data, ?) ORDER BY n"
        return sql, (*rows, query.app or "", mark)
    if query.participant_id is not None:
        of, of_app = ("", ()) if query.app is None else (" AND app = ?", (query.app,))
        sql += f" p IN (SELECT n FROM participants WHERE id = ?{of}) AND (state > 1) = 0"
        sql += " AND n > ? AND n <= ? ORDER BY n"
        return sql, (query.participant_id, *of_app, *rows)
    if query.app is not None:
        return f"{sql} n > ? AND n <= ? AND state < {ENDED} AND app = ? ORDER BY n", (*rows, query.app)
    return f"{sql} n > ? AND n <= ? AND state < {ENDED} ORDER BY n", rows
