"""Events, kept until S17's limits: one table, consecutive numbers for each application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import apsw
import msgspec

from greenroom.engines.base import DEAD_LETTERS, EventPage
from greenroom.engines.cursors import invalid_cursor, open_cursor, seal_cursor
from greenroom.engines.embedded.database import Database
from greenroom.engines.embedded.erase import hide_names
from greenroom.engines.embedded.transaction import Transaction
from greenroom.model import Event

_decode_event = msgspec.msgpack.Decoder(Event).decode
_encode = msgspec.msgpack.Encoder().encode
_SELECT = "SELECT seq, body FROM events WHERE app = ? AND seq > ? ORDER BY seq LIMIT ?"


def encode_cursor(seq: int) -> str:
    """A position in an application's events."""
    return seal_cursor(b"\x01", seq.to_bytes(8, "big"))


def decode_cursor(cursor: str) -> int:
    """Raises IllegalArgumentError for anything that `encode_cursor` did not make."""
    raw = open_cursor(b"\x01", cursor)
    if len(raw) != 8 or raw[0] & 0x80:
        raise invalid_cursor()
    return int.from_bytes(raw, "big")


class EmbeddedOutbox:
    """Implements `Outbox`. One stream for each application holds the events of all its partitions."""

    def __init__(self, database: Database, node_clock: Callable[[], float]) -> None:
        self._database = database
        self._ready: list[Callable[[str], None]] = []
        self._claims: dict[tuple[str, str], tuple[str, float]] = {}
        self._monotonic = node_clock

    async def read(self, app: str, cursor: str | None, limit: int = 100) -> EventPage:
        after = None if cursor is None else decode_cursor(cursor)
        return await self._database.read(lambda con: _read(con, app, after, limit))

    async def newest(self, app: str) -> str:
        return encode_cursor(await self._database.read(lambda con: _bounds(con, app)[1]))

    async def latest(self, app: str, limit: int = 100) -> EventPage:
        return await self._database.read(lambda con: _latest(con, app, limit))

    async def replay(self, app: str, first_at: int, last_at: int, limit: int = 1000) -> EventPage:
        return await self._database.read(lambda con: _replay(con, app, first_at, last_at, limit))

    async def acknowledge(self, app: str, reader: str, cursor: str) -> None:
        seq = decode_cursor(cursor)
        await self._database.writer.submit(lambda tx: _acknowledge(tx, app, reader, seq))

    async def acknowledged(self, app: str, reader: str) -> str | None:
        def query(con: apsw.Connection) -> str | None:
            for (seq,) in con.execute("SELECT seq FROM readers WHERE app = ? AND reader = ?", (app, reader)):
                return encode_cursor(seq)
            return None

        return await self._database.read(query)

    def subscribe(self, ready: Callable[[str], None]) -> None:
        self._ready.append(ready)

    def publish(self, apps: set[str]) -> None:
        """Events of these applications were committed."""
        for app in apps:
            for ready in self._ready:
                ready(app)

    async def set_aside(self, app: str, reader: str, events: Sequence[Event], why: str) -> None:
        await self._database.writer.submit(lambda tx: _set_aside(tx, app, reader, events, why))

    async def aside(self, app: str, reader: str, limit: int = 100) -> tuple[tuple[Event, str], ...]:
        def query(con: apsw.Connection) -> tuple[tuple[Event, str], ...]:
            sql = "SELECT body, why FROM aside WHERE app = ? AND reader = ? ORDER BY n LIMIT ?"
            return tuple((_decode_event(body), why) for body, why in con.execute(sql, (app, reader, limit)))

        return await self._database.read(query)

    async def drop_aside(self, app: str, reader: str, event_ids: Sequence[str]) -> int:
        return await self._database.writer.submit(lambda tx: _drop_aside(tx, app, reader, event_ids))

    async def claim(self, app: str, reader: str, node: str, seconds: float) -> bool:
        key, now = (app, reader), self._monotonic()
        holder, until = self._claims.get(key, (node, now))
        if holder != node and until > now:
            return False
        self._claims[key] = (node, now + seconds)
        return True


def _bounds(con: apsw.Connection, app: str) -> tuple[int, int]:
    """(number of the oldest kept event, number of the newest ever)."""
    trimmed = 0
    for (stored,) in con.execute("SELECT trimmed FROM streams WHERE app = ?", (app,)):
        trimmed = stored
    for (last,) in con.execute("SELECT max(seq) FROM events WHERE app = ?", (app,)):
        return trimmed + 1, max(trimmed, last or 0)
    return trimmed + 1, trimmed


def _read(con: apsw.Connection, app: str, after: int | None, limit: int) -> EventPage:
    first, last = _bounds(con, app)
    reset = after is not None and after > last  # the file is older than the cursor: it was put back from a copy
    start = first - 1 if after is None or reset else after
    found = _numbered(con.execute(_SELECT, (app, start, limit)))
    # What is no longer there was dropped: before the oldest event kept, or from among those that were.
    end = found[-1][0] if len(found) == limit and found else max(last, start, *(seq for seq, _ in found[-1:]))
    return EventPage(hide_names(con, app, found), encode_cursor(end), end - start - len(found), reset)


def _latest(con: apsw.Connection, app: str, limit: int) -> EventPage:
    last = _bounds(con, app)[1]
    sql = "SELECT seq, body FROM events WHERE app = ? AND seq <= ? ORDER BY seq DESC LIMIT ?"
    found = _numbered(con.execute(sql, (app, last, limit)))[::-1]
    return EventPage(hide_names(con, app, found), encode_cursor(last))


def _replay(con: apsw.Connection, app: str, first_at: int, last_at: int, limit: int) -> EventPage:
    first, last = _bounds(con, app)
    low, high = first, last + 1
    # Instants never go back, so the first event wanted is found by halving.
    while low < high:
        middle = (low + high) // 2
        sql = "SELECT at FROM events WHERE app = ? AND seq >= ? ORDER BY seq LIMIT 1"
        at = next((row[0] for row in con.execute(sql, (app, middle))), first_at)
        if at < first_at:
            low = middle + 1
        else:
            high = middle
    sql = "SELECT seq, body FROM events WHERE app = ? AND seq >= ? AND at <= ? ORDER BY seq LIMIT ?"
    found = _numbered(con.execute(sql, (app, low, last_at, limit)))
    return EventPage(hide_names(con, app, found), encode_cursor(found[-1][0] if found else low - 1))


def _numbered(rows: Iterable[tuple[int, bytes]]) -> list[tuple[int, Event]]:
    return [(seq, _decode_event(body)) for seq, body in rows]


def _acknowledge(tx: Transaction, app: str, reader: str, seq: int) -> None:
    tx.writes += 1
    tx.execute("INSERT OR REPLACE INTO readers VALUES (?, ?, ?)", (app, reader, seq))


def _set_aside(tx: Transaction, app: str, reader: str, events: Sequence[Event], why: str) -> None:
    tx.writes += 1
    tx.con.executemany(
        "INSERT OR IGNORE INTO aside (app, reader, event_id, why, body) VALUES (?, ?, ?, ?, ?)",
        [(app, reader, event.id, why, _encode(event)) for event in events],
    )
    tx.execute(
        "DELETE FROM aside WHERE app = ? AND reader = ? AND n <= (SELECT n FROM aside WHERE app = ? AND reader = ?"
        " ORDER BY n DESC LIMIT 1 OFFSET ?)",
        (app, reader, app, reader, DEAD_LETTERS),
    )


def _drop_aside(tx: Transaction, app: str, reader: str, event_ids: Sequence[str]) -> int:
    tx.writes += 1
    before = tx.con.total_changes()
    for event_id in event_ids:
        tx.execute("DELETE FROM aside WHERE app = ? AND reader = ? AND event_id = ?", (app, reader, event_id))
    return tx.con.total_changes() - before
