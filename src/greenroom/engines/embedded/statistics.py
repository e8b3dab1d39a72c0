"""Headcounts: counted over the participants, the history of an application in one row."""

from __future__ import annotations

from functools import partial

import apsw
import msgspec

from greenroom.engines.base import SAMPLES, Headcount
from greenroom.engines.clock import Clock
from greenroom.engines.embedded.database import Database
from greenroom.engines.embedded.queries import LOOKED_AT, window_end
from greenroom.engines.embedded.rows import PRESENCE_NUMBER
from greenroom.engines.embedded.transaction import Transaction
from greenroom.model import Presence

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Headcount, ...]).decode
_COUNT = f"""SELECT coalesce(sum(presence = {PRESENCE_NUMBER[Presence.ONLINE]}), 0),
 coalesce(sum(presence = {PRESENCE_NUMBER[Presence.UNREACHABLE]}), 0), coalesce(sum(connected), 0),
 coalesce(sum(sessions - connected), 0) FROM participants WHERE app = ? AND id > ? AND id <= ?"""


class EmbeddedStatistics:
    """Implements `Statistics`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def count(self, app: str) -> Headcount:
        totals = [0, 0, 0, 0]
        after: str | None = ""
        while after is not None:
            counts, after = await self._database.read(partial(_count, app, after))
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
        return Headcount(round(self._clock.wall() * 1000), *totals)

    async def keep(self, app: str, headcount: Headcount) -> None:
        await self._database.writer.submit(lambda tx: _keep(tx, app, headcount))

    async def history(self, app: str) -> tuple[Headcount, ...]:
        return await self._database.read(
            lambda con: _history(con.execute("SELECT value FROM meta WHERE key = ?", (_key(app),)).get), quick=True
        )


def _count(app: str, after: str, con: apsw.Connection) -> tuple[tuple[int, ...], str | None]:
    """One step, of `LOOKED_AT` participants, so that others who read have their turn; and where it ended."""
    end, is_last = window_end(con, app, after, LOOKED_AT)
    (counts,) = con.execute(_COUNT, (app, after, end))
    return counts, None if is_last else end


def _keep(tx: Transaction, app: str, headcount: Headcount) -> None:
    stored = tx.rows("SELECT value FROM meta WHERE key = ?", (_key(app),))
    kept = (*_history(stored[0][0] if stored else None), headcount)[-SAMPLES:]
    tx.writes += 1
    tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_key(app), _encode(kept)))


def _history(value: object) -> tuple[Headcount, ...]:
    return _decode(value) if isinstance(value, bytes) else ()


def _key(app: str) -> str:
    return f"history:{app}"
