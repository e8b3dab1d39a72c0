"""Events, kept until S17's limits: one table, consecutive numbers for each application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgspec

from greenroom.engines.base import DEAD_LETTERS, EventPage
from greenroom.engines.cursors import invalid_cursor, open_cursor, seal_cursor
from greenroom.engines.embedded.database import Database
from greenroom.engines.embedded.transaction import Transaction
from greenroom.model import Event

MAX_EVENTS = 100_000
MAX_BYTES = 64 * 1024 * 1024
MAX_AGE_MS = 72 * 3_600_000
"""What is kept of an application's events (S17)."""

_TRIM_STEP = 20_000
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

    async def replay(self, app: str, first_at: int, last_at: int, limit: int = 1000) -> EventPage:
        return await self._database.read(lambda con: _replay(con, app, first_at, last_at, limit))

    async def acknowledge(self, app: str, reader: str, cursor: str) -> None:
        seq = decode_cursor(cursor)
        await self._database.submit(lambda tx: _acknowledge(tx, app, reader, seq))

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
        await self._database.submit(lambda tx: _set_aside(tx, app, reader, events, why))

    async def aside(self, app: str, reader: str, limit: int = 100) -> tuple[tuple[Event, str], ...]:
        def query(con: apsw.Connection) -> tuple[tuple[Event, str], ...]:
            sql = "SELECT body, why FROM aside WHERE app = ? AND reader = ? ORDER BY n LIMIT ?"
            return tuple((_decode_event(body), why) for body, why in con.execute(sql, (app, reader, limit)))

        return await self._database.read(query)

    async def drop_aside(self, app: str, reader: str, event_ids: Sequence[str]) -> int:
        return await self._database.submit(lambda tx: _drop_aside(tx, app, reader, event_ids))

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
    position = first - 1 if after is None or reset else max(after, first - 1)
    gap = 0 if after is None or reset else position - after
    found = list(con.execute(_SELECT, (app, position, limit)))
    return EventPage(
        tuple(_decode_event(body) for _, body in found),
        encode_cursor(found[-1][0] if found else position),
        gap,
        reset,
    )


def _replay(con: apsw.Connection, app: str, first_at: int, last_at: int, limit: int) -> EventPage:
    first, last = _bounds(con, app)
    low, high = first, last + 1
    # Numbers are consecutive and instants never go back, so the first event wanted is found by halving.
    while low < high:
        middle = (low + high) // 2
        at = next((row[0] for row in con.execute("SELECT at FROM events WHERE app = ? AND seq = ?", (app, middle))), 0)
        if at < first_at:
            low = middle + 1
        else:
            high = middle
    sql = "SELECT seq, body FROM events WHERE app = ? AND seq >= ? AND at <= ? ORDER BY seq LIMIT ?"
    found = list(con.execute(sql, (app, low, last_at, limit)))
    return EventPage(tuple(_decode_event(body) for _, body in found), encode_cursor(found[-1][0] if found else low - 1))


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


def trim_streams(tx: Transaction, *, by_age: bool) -> int:
    """Drops the oldest where S17's limits are passed. How many; at most some per application and pass."""
    dropped = 0
    for app, stream in tx.state.streams.items():
        count = stream.last - stream.first + 1
        if count > MAX_EVENTS or stream.bytes > MAX_BYTES or (by_age and count > 0):
            dropped += _trim(tx, app, stream, tx.now - MAX_AGE_MS if by_age else 0)
    return dropped


def _trim(tx: Transaction, app: str, stream: Any, oldest_at: int) -> int:
    tx.flush()
    upto = stream.first - 1
    count = stream.last - stream.first + 1
    sql = "SELECT seq, at, length(body) FROM events WHERE app = ? ORDER BY seq LIMIT ?"
    for seq, at, size in tx.rows(sql, (app, _TRIM_STEP)):
        if count <= MAX_EVENTS and stream.bytes <= MAX_BYTES and at >= oldest_at:
            break
        upto, count = seq, count - 1
        stream.bytes -= size
    dropped: int = upto - stream.first + 1
    if dropped:
        tx.writes += 1
        stream.first = upto + 1
        tx.execute("DELETE FROM events WHERE app = ? AND seq <= ?", (app, upto))
        tx.execute("INSERT OR REPLACE INTO streams VALUES (?, ?)", (app, upto))
    return dropped
