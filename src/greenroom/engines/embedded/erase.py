"""What is left of an erased participant is removed piece by piece: from events, and from sessions that have ended.

The erase itself ends the sessions, drops the record and writes an erasure, in one step. From then on nothing that is
read names the participant (`hide_names`, `is_erased`). Reaper passes walk over the events and sessions of before, some
hundred at a time, so that nobody waits for a long stream; then the erasure goes too, and the log is truncated.
"""

from __future__ import annotations

import apsw
import msgspec

from greenroom.engines.embedded.rows import SessionRow, decode_data
from greenroom.engines.embedded.transaction import Transaction
from greenroom.model import Event, without_names

PIECE = 500
"""Events, or sessions, that one step looks at: some milliseconds."""

_encode_event = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(Event).decode


def begin_erasure(tx: Transaction, app: str, participant_id: str) -> None:
    """From now on nothing of before that is read names the participant."""
    tx.flush()
    tx.writes += 1
    stream = tx.state.stream(app)
    ((last_session,),) = tx.rows("SELECT coalesce(max(n), 0) FROM sessions")
    tx.execute(
        "INSERT INTO erasures (app, participant, last_event, last_session, event, session) VALUES (?, ?, ?, ?, ?, 0)",
        (app, participant_id, stream.last, last_session, stream.first - 1),
    )
    tx.state.erasing = True


def erase_piece(tx: Transaction) -> bool:
    """One step of the oldest erasure. Whether there is more to do."""
    if not tx.state.erasing:
        return False
    found = tx.rows("SELECT n, app, participant, last_event, last_session, event, session FROM erasures LIMIT 1")
    if not found:
        tx.state.erasing = False
        tx.state.checkpoint_due = True
        return False
    ((n, app, participant_id, last_event, last_session, event, session),) = found
    tx.writes += 1
    if event < last_event:
        event = _redact_events(tx, app, participant_id, event, last_event)
    elif session < last_session:
        session = _drop_sessions(tx, app, participant_id, session, last_session)
    if event >= last_event and session >= last_session:
        tx.execute("DELETE FROM erasures WHERE n = ?", (n,))
    else:
        tx.execute("UPDATE erasures SET event = ?, session = ? WHERE n = ?", (event, session, n))
    return True


def _redact_events(tx: Transaction, app: str, participant_id: str, after: int, last: int) -> int:
    """Events stay, with their ids and order; what says who it was goes. Where to continue."""
    tx.flush()
    sql = "SELECT seq, body FROM events WHERE app = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
    rows = tx.rows(sql, (app, after, last, PIECE))
    mark = participant_id.encode("utf-8", "surrogatepass")
    for seq, body in rows:
        if mark not in body:
            continue
        event = _decode_event(body)
        if event.participant_id == participant_id:
            shorter = _encode_event(without_names(event))
            tx.state.stream(app).bytes -= len(body) - len(shorter)
            tx.execute("UPDATE events SET body = ? WHERE app = ? AND seq = ?", (shorter, app, seq))
    return rows[-1][0] if len(rows) == PIECE else last


def _drop_sessions(tx: Transaction, app: str, participant_id: str, after: int, last: int) -> int:
    upto = min(last, after + PIECE)
    sql = "SELECT n, app, data FROM sessions WHERE n > ? AND n <= ? AND state > 1"
    for n, of, data in tx.rows(sql, (after, upto)):
        if of == app and decode_data(data).participant_id == participant_id:
            tx.forget_ended([(n, app)])
    return upto


# -- reading meanwhile -----------------------------------------------------------------------------------------------


def hide_names(con: apsw.Connection, app: str, events: list[tuple[int, Event]]) -> tuple[Event, ...]:
    """Numbered events without what identifies a participant whose erasure is under way."""
    erased = dict(con.execute("SELECT participant, max(last_event) FROM erasures WHERE app = ? GROUP BY 1", (app,)))
    if not erased:
        return tuple(event for _, event in events)
    return tuple(without_names(each) if seq <= erased.get(each.participant_id, 0) else each for seq, each in events)


def last_erased_sessions(con: apsw.Connection, app: str) -> dict[str, int]:
    """Of participants whose erasure is under way: the number of the last row of sessions that it takes."""
    return dict(con.execute("SELECT participant, max(last_session) FROM erasures WHERE app = ? GROUP BY 1", (app,)))


def is_erased(con: apsw.Connection, row: SessionRow) -> bool:
    """Whether a session that has ended is of a participant whose erasure is under way."""
    sql = "SELECT 1 FROM erasures WHERE app = ? AND participant = ? AND last_session >= ?"
    return bool(con.execute(sql, (row.app, row.data.participant_id, row.n)).fetchall())
