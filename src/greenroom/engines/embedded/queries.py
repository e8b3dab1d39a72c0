"""Reading: participants and sessions, by id and as lists with opaque cursors."""

from __future__ import annotations

import base64
import binascii

import apsw

from greenroom.core.requests import ParticipantQuery
from greenroom.engines.base import ParticipantPage, SessionPage, SessionQuery
from greenroom.engines.embedded.rows import COLUMNS, ENDED, PRESENCE_NUMBER, ParticipantRow, SessionRow, hash_key
from greenroom.errors import IllegalArgumentError
from greenroom.model import ParticipantRecord, SessionRecord

MAX_LIMIT = 1000
"""Rows of one page at most."""

_PARTICIPANT = (
    "SELECT n, app, id, external_id, name, avatar_url, revision, version, presence, shown, sessions, connected,"
    " last_seen, anonymous, since, due FROM participants"
)


def participants(query: ParticipantQuery, con: apsw.Connection) -> ParticipantPage:
    """By ids, in their order, unknown ones as offline; or a list by id."""
    if query.ids is not None:
        return ParticipantPage(tuple(_participant(con, query.app, each) for each in query.ids))
    limit = max(1, min(query.limit, MAX_LIMIT))
    wanted = [PRESENCE_NUMBER[presence] for presence in query.presence]
    having = f" AND presence IN ({', '.join('?' * len(wanted))})" if wanted else ""
    sql = f"{_PARTICIPANT} WHERE app = ? AND id > ?{having} ORDER BY id LIMIT ?"
    after = "" if query.cursor is None else _decode_cursor(query.cursor)
    found = [ParticipantRow(*row) for row in con.execute(sql, (query.app, after, *wanted, limit + 1))]
    cursor = _encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return ParticipantPage(tuple(participant.record() for participant in found[:limit]), cursor)


def _participant(con: apsw.Connection, app: str, participant_id: str) -> ParticipantRecord:
    for row in con.execute(f"{_PARTICIPANT} WHERE app = ? AND id = ?", (app, participant_id)):
        return ParticipantRow(*row).record()
    return ParticipantRecord(app=app, id=participant_id)


def sessions(query: SessionQuery, key: bytes, con: apsw.Connection) -> SessionPage:
    """One by its id, ended ones too; or a list of those that have not ended."""
    if query.session_id is not None:
        return SessionPage(_session(con, query, key))
    limit = max(1, min(query.limit, MAX_LIMIT))
    after = -(2**63) if query.cursor is None else _decode_number(query.cursor)
    items: list[SessionRecord] = []
    for found in con.execute(*_listing(query, after)):
        row = SessionRow(*found)
        if query.node is not None and row.data.node != query.node:
            continue
        if query.participant_id is not None and row.data.participant_id != query.participant_id:
            continue
        if len(items) == limit:
            return SessionPage(tuple(items), _encode_cursor(str(after)))
        items.append(row.record(with_timeline=query.with_timeline))
        after = row.n
    return SessionPage(tuple(items))


def _session(con: apsw.Connection, query: SessionQuery, key: bytes) -> tuple[SessionRecord, ...]:
    session_id = query.session_id or ""
    for found in con.execute(f"SELECT {COLUMNS} FROM sessions WHERE key = ?", (hash_key(key, session_id),)):
        row = SessionRow(*found)
        if row.data.id == session_id and query.app in (None, row.app):
            return (row.record(with_timeline=query.with_timeline),)
    return ()


def _listing(query: SessionQuery, after: int) -> tuple[str, tuple[int | str, ...]]:
    if query.participant_id is not None:
        app = "" if query.app is None else " AND app = ?"
        bindings: tuple[int | str, ...] = (
            (query.participant_id,)
            if query.app is None
            else (
                query.participant_id,
                query.app,
            )
        )
        of = f"SELECT n FROM participants WHERE id = ?{app}"
        return f"SELECT {COLUMNS} FROM sessions WHERE p IN ({of}) AND state < {ENDED} AND n > ? ORDER BY n", (
            *bindings,
            after,
        )
    if query.app is not None:
        sql = f"SELECT {COLUMNS} FROM sessions WHERE n > ? AND state < {ENDED} AND app = ? ORDER BY n"
        return sql, (after, query.app)
    return f"SELECT {COLUMNS} FROM sessions WHERE n > ? AND state < {ENDED} ORDER BY n", (after,)


def _encode_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _decode_cursor(cursor: str) -> str:
    try:
        raw = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(raw, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise IllegalArgumentError("This is no cursor of this list.") from None


def _decode_number(cursor: str) -> int:
    try:
        number = int(_decode_cursor(cursor))
    except ValueError:
        number = 2**63
    if not -(2**63) <= number < 2**63:
        raise IllegalArgumentError("This is no cursor of this list.")
    return number
