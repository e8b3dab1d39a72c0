"""Headcounts: counted over the live sessions of each partition, the history of an application in its home partition."""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.engines.base import SAMPLE_PERIOD, SAMPLES, Headcount
from greenroom.engines.redis.arguments import argument, encode
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.model import PARTITIONS, partition_of

LOOKED_AT = 250
"""Sessions that one call looks at: less than a millisecond of Redis."""

_decode = msgspec.json.Decoder(Headcount).decode


class RedisStatistics:
    """Implements `Statistics`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def count(self, app: str) -> Headcount:
        left: dict[int, str | None] = dict.fromkeys(range(PARTITIONS))
        here = attached = detached = at = 0
        unreachable = 0.0
        while left:
            calls = [
                FunctionCall("count", f"p{number}", argument(app=app, cursor=cursor, limit=LOOKED_AT))
                for number, cursor in left.items()
            ]
            replies = dict(zip(left, await self._store.call_many(calls), strict=True))
            for number, reply in replies.items():
                now, participants, connected, waiting, away, *place = accepted(reply)
                at = max(at, int(now))
                here += 0 if left[number] else participants
                attached += connected
                detached += waiting
                unreachable += float(away)
                left[number] = place[0].decode() if place else None
            left = {number: cursor for number, cursor in left.items() if cursor is not None}
        # What came or went between two pages can put them a little off.
        away_now = min(here, round(unreachable))
        return Headcount(at, here - away_now, away_now, attached, detached)

    async def keep(self, app: str, headcount: Headcount) -> None:
        seconds = int(SAMPLES * SAMPLE_PERIOD)
        record = encode(headcount).decode()
        await self._home("keep_headcount", app, headcount=record, most=SAMPLES, seconds=seconds)

    async def history(self, app: str) -> tuple[Headcount, ...]:
        (records,) = await self._home("headcounts", app)
        return tuple(map(_decode, records))

    async def _home(self, function: str, app: str, **members: Any) -> Reply:
        body = argument(app=app, **members)
        return accepted(await self._store.call(FunctionCall(function, f"p{partition_of(app, '')}", body)))
