"""Streams have an end (S17): what is too old goes, and where there is too much, updates before ends.

Each look costs what is due: a stream remembers how old its oldest event is, and up to where it was searched for events
that may go before others.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from greenroom.engines.base import EventLimits, drop_rank
from greenroom.engines.embedded.state import Stream
from greenroom.engines.embedded.transaction import Transaction

PIECE = 1000
"""Events of one application that one reaper pass looks at: some milliseconds."""


class _Type(msgspec.Struct):
    """All that is asked of an event here."""

    type: str


_decode_type = msgspec.msgpack.Decoder(_Type).decode
_SELECT = "SELECT seq, at, body FROM events WHERE app = ? AND seq > ? ORDER BY seq LIMIT ?"


def trim_streams(tx: Transaction, limits: EventLimits) -> bool:
    """Drops what is over the limits, a piece of each stream. Whether there is more."""
    more = False
    oldest = tx.now - int(limits.age * 1000)
    for app, stream in tx.state.streams.items():
        if stream.count and stream.oldest_at < oldest:
            more = _drop_old(tx, app, stream, oldest) or more
        if stream.count > limits.count or stream.bytes > limits.size:
            more = _drop_surplus(tx, app, stream, limits) or more
    return more


def _drop_old(tx: Transaction, app: str, stream: Stream, oldest: int) -> bool:
    tx.flush()
    rows = tx.rows("SELECT seq, at, length(body) FROM events WHERE app = ? ORDER BY seq LIMIT ?", (app, PIECE + 1))
    old = [row for row in rows[:PIECE] if row[1] < oldest]
    _drop(tx, app, stream, ((seq, size) for seq, _, size in old))
    left = rows[len(old) :]
    stream.oldest_at = left[0][1] if left else stream.at
    stream.first = left[0][0] if left else stream.last + 1
    _note_first(tx, app, stream)
    return len(old) == PIECE


def _drop_surplus(tx: Transaction, app: str, stream: Stream, limits: EventLimits) -> bool:
    """Of one rank at a time, oldest first. The newest event stays: its number must not be given again."""
    tx.flush()
    rank = next((rank for rank in (0, 1) if stream.searched[rank] < stream.last - 1), 2)
    after = stream.searched[rank] if rank < 2 else stream.first - 1
    rows = tx.rows(_SELECT, (app, after, PIECE))
    count, size = stream.count - limits.count, stream.bytes - limits.size
    dropped: list[tuple[int, int]] = []
    searched = stream.last - 1
    for seq, _, body in rows:
        if (count <= 0 and size <= 0) or seq == stream.last:
            searched = seq - 1
            break
        if drop_rank(_decode_type(body).type) <= rank:
            dropped.append((seq, len(body)))
            count, size = count - 1, size - len(body)
    else:
        searched = rows[-1][0] if len(rows) == PIECE else searched
    if rank < 2:
        stream.searched[rank] = max(stream.searched[rank], searched)
    _drop(tx, app, stream, dropped)
    if rank == 2 or (dropped and dropped[0][0] == stream.first):
        first = tx.rows("SELECT seq, at FROM events WHERE app = ? ORDER BY seq LIMIT 1", (app,))
        stream.first, stream.oldest_at = first[0]
        _note_first(tx, app, stream)
    return (count > 0 or size > 0) and stream.count > 1


def _drop(tx: Transaction, app: str, stream: Stream, dropped: Iterable[tuple[int, int]]) -> None:
    for seq, size in dropped:
        tx.execute("DELETE FROM events WHERE app = ? AND seq = ?", (app, seq))
        stream.count -= 1
        stream.bytes -= size
        tx.writes += 1


def _note_first(tx: Transaction, app: str, stream: Stream) -> None:
    tx.execute("INSERT OR REPLACE INTO streams VALUES (?, ?)", (app, stream.first - 1))
